import { fstatSync } from 'node:fs'

/**
 * The priorities that the journal of systemd reads from the beginning of a line: sd-daemon(3). `journalctl -p
 * warning` goes by it.
 */
const PRIORITIES: Readonly<Record<string, number>> = {
  fatal: 2,
  error: 3,
  warn: 4,
  info: 6,
  debug: 7,
  trace: 7,
}

/**
 * Returns whether standard output (or another descriptor) goes to the journal, and not to a pipe or a file that a
 * parent made of it.
 */
export function writesToJournal(env: Readonly<Record<string, string | undefined>>, descriptor = 1): boolean {
  const stream = env.JOURNAL_STREAM
  if (stream === undefined) return false
  try {
    const { dev, ino } = fstatSync(descriptor)
    return stream === `${dev}:${ino}`
  } catch {
    return false
  }
}

/** A line of JSON with the priority of its level before it, which the journal takes off. */
export function withPriority(line: string, level = /"level":"(\w+)"/.exec(line)?.[1] ?? 'info'): string {
  return `<${PRIORITIES[level] ?? 6}>${line}`
}
