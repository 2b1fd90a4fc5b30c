import { messageOf } from '../../kernel/errors.ts'
import { advised, type FailureOf, failureOfRefusal } from '../../mcp/failures.ts'
import { CliError, RefusedByBridge, SignInRefused } from '../exit.ts'

const NO_BRIDGE =
  'The bridge cannot be reached now; this server connects again by itself. Call again in some seconds, with the same idempotencyKey if you gave one; without one, look first whether the command has run.'

const NOT_LET_IN =
  'The bridge does not let this server in any more, so no tool works. Tell the person: the principal was removed or has another password. On the machine of the bridge `limb-bridge principal list` shows the principals, `limb-bridge principal set-password NAME` makes a new password; it belongs into the file of --password-file, which is read at each try, or into LIMB_PASSWORD, which takes a new start of this server. It tries once a minute and comes back by itself: do not call again before the person says that it is done.'

/** Makes the failure of an error, also of one of the session with the bridge: it may be away, or let the server in no more. */
export const failureOfSession: FailureOf = (error) => {
  if (error instanceof RefusedByBridge) return advised(error.body)
  if (error instanceof SignInRefused)
    return { code: 'sign_in_refused', message: messageOf(error), next: NOT_LET_IN }
  if (error instanceof CliError) return { code: 'unreachable', message: messageOf(error), next: NO_BRIDGE }
  return failureOfRefusal(error)
}
