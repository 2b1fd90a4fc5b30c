import { type ErrorBody, type ErrorCode, messageOf } from '../kernel/errors.ts'
import { isVerb } from '../protocol/verbs.ts'

/** The exit codes of the command line. Programs branch on these; none is renumbered. */
export const EXIT = {
  ok: 0,
  /** The bridge answered with an error, or the operator said no. */
  refused: 1,
  /** The command line itself is wrong. */
  usage: 2,
  /** The bridge is not there, gave no answer in time, or refused the sign-in. */
  unreachable: 3,
  /** The bridge answered `not_found`. */
  notFound: 4,
  /** The policy, or an operator, said no. */
  denied: 5,
  /** The limb did not answer in time; the command may have run. */
  timeout: 6,
  /** The limb is not connected. */
  offline: 7,
  /** The limb answered that it failed. */
  nodeError: 8,
  /** The thing changed meanwhile, or was decided already. */
  conflict: 9,
  /** A broken invariant (EX_SOFTWARE). */
  internal: 70,
  /** The configuration has mistakes (EX_CONFIG). */
  config: 78,
  /** Ctrl-C at a question. */
  interrupted: 130,
} as const

export const EXIT_HELP = `Exit codes: 0 done; 1 the bridge refused it; 2 wrong usage; 3 no bridge reached, or sign-in refused;
4 there is no such thing; 5 denied; 6 no answer of the limb in time (it may have run); 7 the limb is offline;
8 the limb failed; 9 a conflict; 78 the configuration has mistakes.`

/** An expected end: one clear sentence for standard error, and what to do. */
export class CliError extends Error {
  readonly exitCode: number

  constructor(exitCode: number, message: string) {
    super(message)
    this.name = 'CliError'
    this.exitCode = exitCode
  }
}

export function usageError(message: string): CliError {
  return new CliError(EXIT.usage, message)
}

/** An argument is not what the command takes: its form is shown too. */
export class WrongArgument extends CliError {
  constructor(message: string) {
    super(EXIT.usage, message)
    this.name = 'WrongArgument'
  }
}

export function unreachable(message: string): CliError {
  return new CliError(EXIT.unreachable, message)
}

/** The bridge does not let this principal in: another try will not help before a person has done something. */
export class SignInRefused extends CliError {
  constructor(message: string) {
    super(EXIT.unreachable, message)
    this.name = 'SignInRefused'
  }
}

/** Another bridge leads, and this one waits to take over: what it says is who leads. */
export class StandbyBridge extends CliError {
  readonly text: string

  constructor(where: string, text: string) {
    super(EXIT.unreachable, `the bridge at ${where} is a ${text}; ask that one`)
    this.name = 'StandbyBridge'
    this.text = text
  }
}

/** `see node/list` as somebody at a command line reads it: see `limb-bridge node list`. Other paths stay what they are. */
export function withCommands(text: string): string {
  return text.replaceAll(/(?<![\w/.-])`?([a-z]+\/[a-z-]+)`?(?![\w/.-]*[\w/])/g, (all, word: string) =>
    isVerb(word) ? `\`limb-bridge ${word.replace('/', ' ')}\`` : all,
  )
}

const EXIT_OF: Partial<Readonly<Record<ErrorCode, number>>> = {
  not_found: EXIT.notFound,
  denied: EXIT.denied,
  timeout: EXIT.timeout,
  node_offline: EXIT.offline,
  node_error: EXIT.nodeError,
  conflict: EXIT.conflict,
}

/** The command did what it was told, and its answer, which is out already, is not what was hoped for. */
export class SoftFailure extends CliError {
  constructor(message: string) {
    super(EXIT.refused, message)
    this.name = 'SoftFailure'
  }
}

const CODE_OF: Readonly<Record<number, string>> = {
  [EXIT.usage]: 'invalid_request',
  [EXIT.unreachable]: 'unreachable',
  [EXIT.notFound]: 'not_found',
  [EXIT.config]: 'misconfigured',
  [EXIT.interrupted]: 'cancelled',
}

/** An error as `--json` prints it. */
export function errorJson(error: unknown): { readonly error: object } {
  if (error instanceof RefusedByBridge) return { error: error.body }
  const code = error instanceof CliError ? (CODE_OF[error.exitCode] ?? 'refused') : 'internal'
  return { error: { code, message: messageOf(error) } }
}

/** The bridge's answer, kept as it came. */
export class RefusedByBridge extends CliError {
  readonly body: ErrorBody

  constructor(body: ErrorBody) {
    super(EXIT_OF[body.code] ?? EXIT.refused, `${withCommands(body.message)} (${body.code})`)
    this.name = 'RefusedByBridge'
    this.body = body
  }
}
