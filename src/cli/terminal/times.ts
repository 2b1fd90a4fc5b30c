/** Times as people type them. */

/** The forms of a time, for help texts. */
export const TIME_HINT = '2026-01-31 (UTC), 2026-01-31T12:00:00Z, or 2h for two hours ago (s, m, h, d)'

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const AGO = /^(\d{1,9})([smhd])$/
/** Matches a time. Without a zone a time of day would be another one on the bridge's machine than here. */
const TIME = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d))?$/

/** Returns a time as the protocol writes it; undefined for what is no time. */
export function parseTime(text: string, nowMs: number): string | undefined {
  const [, count, unit = ''] = AGO.exec(text) ?? []
  const at = count === undefined ? timeOf(text) : nowMs - Number(count) * (UNIT_MS[unit] ?? 0)
  const date = new Date(at)
  // Years beyond four digits are written in another way.
  return date.getTime() >= 0 && date.getUTCFullYear() <= 9999 ? date.toISOString() : undefined
}

function timeOf(text: string): number {
  if (!TIME.test(text)) return Number.NaN
  // JavaScript takes the 31st of February for the 3rd of March.
  const day = text.slice(0, 10)
  const midnight = new Date(`${day}T00:00:00Z`)
  const exists = Number.isFinite(midnight.getTime()) && midnight.toISOString().startsWith(day)
  return exists ? Date.parse(text) : Number.NaN
}
