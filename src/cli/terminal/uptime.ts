import type { DisplayRow } from './presentation.ts'
import { age, shown, span } from './text.ts'

/** `online 99.2 % of the last 30d (29d of 30d)`, above the changes that it is made of. */
export function uptimeText(
  { nodeId, since, until, onlineSeconds, uptimePercent }: DisplayRow,
  nowMs: number,
): string {
  const seconds = (Date.parse(shown(until)) - Date.parse(shown(since))) / 1000
  if (Number.isNaN(seconds) || typeof onlineSeconds !== 'number') return ''
  const share = typeof uptimePercent === 'number' ? ` (${shown(uptimePercent)} %)` : ''
  return `${shown(nodeId)} was online for ${span(onlineSeconds)} of ${span(seconds)}${share}, since ${age(since, nowMs)}.\n`
}
