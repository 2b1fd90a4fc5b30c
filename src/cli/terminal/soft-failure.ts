import type { VerbName } from '../../protocol/verbs.ts'
import { asRow, itemsOf } from './presentation.ts'
import { shown } from './text.ts'

/**
 * Answers that are no error of the bridge's, and still not what whoever asked hopes for: a script that looks at the
 * exit code alone must not take them for a success. A sentence; undefined when all is well.
 */
export function softFailureOf(verb: VerbName, data: unknown): string | undefined {
  const row = asRow(data)
  if (verb === 'audit/verify' && row.whole === false) {
    return `the audit log is not whole: ${shown(row.problem ?? `broken at row ${shown(row.brokenAt)}`)}`
  }
  if (verb === 'webhook/test' && row.delivered === false) {
    return `it was not taken: ${shown(row.failure)}`
  }
  if (verb === 'invocation/approve' && UNSENT.includes(String(row.state))) {
    const { message, code } = asRow(row.error ?? {})
    const why = message === undefined ? `it is ${shown(row.state)}` : `${shown(message)} (${shown(code)})`
    return `the invocation was approved and could not be sent: ${why}`
  }
  if (verb === 'pairing/approve' || verb === 'pairing/reject') {
    const failed = itemsOf(data).filter(({ error }) => error !== undefined)
    if (failed.length > 0) return `${failed.length} of ${itemsOf(data).length} were not decided`
  }
  return undefined
}

/** The states in which an approved invocation ends that never reached its limb. */
const UNSENT = ['failed', 'denied', 'expired', 'interrupted', 'cancelled']
