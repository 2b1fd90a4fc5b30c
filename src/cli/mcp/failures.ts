import { type ErrorBody, type ErrorCode, messageOf, Refusal } from '../../kernel/errors.ts'
import { CliError, RefusedByBridge, SignInRefused } from '../exit.ts'

/** Errors as a model can use them: what went wrong, and what to do next. */

const NEXT: Readonly<Record<ErrorCode, string>> = {
  invalid_request: 'Correct the argument that `path` names and call again.',
  unauthorized: 'Tell the person: the bridge does not know this principal or password.',
  not_found: 'Look up the right name with limb_list_available, limb_lease (list) or limb_pair_list.',
  forbidden: 'This principal may not do that. Ask the person; do not try again.',
  conflict: 'Look at the current state (list it again), then decide anew.',
  node_offline: 'Choose another limb with limb_list_available, or try again later.',
  capability_unavailable: 'Choose another limb that has the capability, or try again later.',
  unknown_command: 'Use one of the commands that limb_list_available shows for this limb.',
  leased: 'Call again with waitSeconds to queue for it, or after the time in details.until.',
  denied: 'Do not try again. Tell the person what was denied and why.',
  expired: 'Nobody approved it in time. Ask the person whether to call again.',
  cancelled: 'It did not run. Call again only if it is still wanted.',
  timeout:
    'Whether the command ran is not known. Look at the limb before you repeat it; call again with a longer timeoutSeconds only if repeating does no harm.',
  node_error: 'The limb itself failed; its words are in the message. Change params, or tell the person.',
  too_many_requests: 'Wait until calls of yours have ended, then call again.',
  storage_unavailable: 'Nothing was changed. Wait a minute and call again; tell the person if it stays so.',
  internal:
    'Tell the person; the log of the bridge says why. Look whether the command has run before you call again.',
}

/**
 * Matches the failure of an invocation that was under way: the message says so, the code is that of every failure of
 * the bridge.
 */
const RESTARTED = /^bridge restarted/
const AFTER_RESTART =
  'The bridge stopped during this call: whether the command ran is not known, and asking again with the same idempotencyKey gives this same answer for 24 hours. Look at the limb first, or let the person look (`limb-bridge invocation list`, `invocation get`); then call with a new idempotencyKey if it still has to be done.'

const NO_BRIDGE =
  'The bridge cannot be reached now; this server connects again by itself. Call again in some seconds, with the same idempotencyKey if you gave one; without one, look first whether the command has run.'

const NOT_LET_IN =
  'The bridge does not let this server in any more, so no tool works. Tell the person: the principal was removed or has another password. On the machine of the bridge `limb-bridge principal list` shows the principals, `limb-bridge principal set-password NAME` makes a new password; it belongs into the file of --password-file, which is read at each try, or into LIMB_PASSWORD, which takes a new start of this server. It tries once a minute and comes back by itself: do not call again before the person says that it is done.'

export interface Failure extends Omit<ErrorBody, 'code'> {
  readonly code: ErrorCode | 'unreachable' | 'sign_in_refused'
  readonly next: string
}

function advised(body: ErrorBody): Failure {
  const restarted = body.code === 'internal' && RESTARTED.test(body.message)
  return { ...body, next: restarted ? AFTER_RESTART : NEXT[body.code] }
}

/** Makes the failure of an expected error; undefined for a broken invariant. */
export function failureOf(error: unknown): Failure | undefined {
  if (error instanceof RefusedByBridge) return advised(error.body)
  if (error instanceof Refusal) return advised(error.body())
  if (error instanceof SignInRefused)
    return { code: 'sign_in_refused', message: messageOf(error), next: NOT_LET_IN }
  if (error instanceof CliError) return { code: 'unreachable', message: messageOf(error), next: NO_BRIDGE }
  return undefined
}
