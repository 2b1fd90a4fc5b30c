import { availableParallelism, loadavg } from 'node:os'

/**
 * How much longer than on an idle machine everything may take here: the load for each core when the tests began, at least
 * 2, since load may come later, and at most 20. A limit ends a test that hangs; it is no measure of speed.
 */
const FACTOR = Math.min(20, Math.max(2, (loadavg()[0] ?? 0) / availableParallelism()))

/** A limit in milliseconds that comes from the machine, given what it would be on an idle one. */
export function patience(idleMs: number): number {
  return Math.ceil(idleMs * FACTOR)
}
