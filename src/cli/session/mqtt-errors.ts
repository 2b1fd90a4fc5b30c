import { messageOf } from '../../kernel/errors.ts'
import { type CliError, SignInRefused, StandbyBridge, unreachable } from '../exit.ts'
import { type ConnectionTarget, targetName } from './target.ts'

/** Says what went wrong with a connection, and what to do about it. */

const SOCKET_HINTS: Readonly<Record<string, string>> = {
  ENOENT:
    "there is no such socket; run this in the bridge's folder, or name its socket with --socket or its configuration with --config. `limb-bridge serve` starts a bridge here",
  ECONNREFUSED: 'no bridge listens there: start it with `limb-bridge serve`',
  EACCES: "this user may not use it: join the socket's group (`ls -l` shows it), or use sudo",
  ENOTSOCK: 'this is not a socket',
  ENAMETOOLONG: 'the path is too long for a socket',
  EINVAL: 'the path is too long for a socket',
}

const URL_HINTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'the name does not resolve',
  ETIMEDOUT: 'no answer',
  EHOSTUNREACH: 'no route to it',
  ENETUNREACH: 'no route to it',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed; name it with --ca FILE',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate authority is not known here; name it with --ca FILE',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate authority is not known here; name it with --ca FILE',
}

const OTHER_VERSION = 'it speaks neither MQTT 5 nor 3.1.1'
const CLIENT_ID = 'it refused the client id'
const BUSY =
  'it is not available, or there were too many wrong passwords; wait up to mqtt.failedSignInSeconds, or use the control socket on its machine'

/** CONNACK return codes of MQTT 3.1.1 [MQTT-3.2.2.3] and reason codes of MQTT 5. */
const CONNACK_HINTS: Readonly<Record<number, string>> = {
  1: OTHER_VERSION,
  2: CLIENT_ID,
  3: BUSY,
  132: OTHER_VERSION,
  133: CLIENT_ID,
  136: BUSY,
  137: BUSY,
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
}

/** Bad user name or password, and not authorized: in MQTT 3.1.1 [MQTT-3.2.2.3] and in MQTT 5. */
const NOT_LET_IN: readonly unknown[] = [4, 5, 0x86, 0x87]

export function isSignInRefusal(error: unknown): boolean {
  return NOT_LET_IN.includes(codeOf(error))
}

export function signInRefused(target: ConnectionTarget): SignInRefused {
  return new SignInRefused(refusedText(target, 'wrong name or password'))
}

/** Makes the error for a name that nobody has: whoever signs in so is a device that wants to be paired. */
export function notThatPrincipal(target: ConnectionTarget): SignInRefused {
  return new SignInRefused(refusedText(target, 'there is no principal of that name'))
}

function refusedText(target: ConnectionTarget, why: string): string {
  return `the bridge at ${targetName(target)} refused to sign ${target.principal} in: ${why}`
}

export function connectionError(target: ConnectionTarget, error: unknown, said?: string): CliError {
  const where = targetName(target)
  const code = codeOf(error)
  if (isSignInRefusal(error)) return signInRefused(target)
  if (target.endpoint.kind === 'socket' && said?.startsWith('standby'))
    return new StandbyBridge(targetName(target), said)
  if (typeof code === 'number') return unreachable(refusedText(target, CONNACK_HINTS[code] ?? `code ${code}`))
  const hints = target.endpoint.kind === 'socket' ? SOCKET_HINTS : URL_HINTS
  const hint = hints[String(code)] ?? (error === undefined ? 'the connection was closed' : messageOf(error))
  return unreachable(`cannot reach the bridge at ${where}: ${hint}`)
}
