/**
 * The catalogue of errors that a user of the protocol can meet. A code is a promise: programs branch on it,
 * so none is renamed or reused. `docs/protocol.md` lists the same codes, and a test keeps the two in step.
 */
export const ERROR_CODES = {
  invalid_request: 'the payload does not follow the schema; `path` names the key',
  unauthorized: 'over HTTP: nobody, or not who it says it is; sign in',
  not_found: 'there is no such thing',
  forbidden: 'the role of this principal does not reach that far',
  conflict: 'the thing changed meanwhile, or its name is taken',
  node_offline: 'the limb is not connected',
  capability_unavailable: 'the limb reports the capability as unavailable',
  unknown_command: 'the command is not among the approved ones of the limb',
  leased: 'another principal holds the lease',
  denied: 'the policy, or an operator, says no',
  expired: 'the time for it has passed',
  cancelled: 'it was cancelled, or nobody waits for it any more; it did not run',
  timeout: 'the limb did not answer in time',
  node_error: 'the limb answered that it failed',
  too_many_requests: 'a limit is reached; try again later',
  storage_unavailable: 'the database cannot store it now; nothing was changed',
  internal: 'the bridge failed; its log says why',
} as const

export type ErrorCode = keyof typeof ERROR_CODES

/** The wire form of an error. */
export interface ErrorBody {
  code: ErrorCode
  /** Says what to do next. */
  message: string
  /** The offending key, such as `capabilities[0].cap`. */
  path?: string
  /** Facts that a program needs to go on, such as who holds a lease and until when. */
  details?: Readonly<Record<string, unknown>>
}

/**
 * An operating error: expected, reaches the caller as a value, and is never a reason to stop.
 * Anything else that is thrown is a broken invariant.
 */
export class Refusal extends Error {
  readonly code: ErrorCode
  readonly path: string | undefined
  readonly details: Readonly<Record<string, unknown>> | undefined

  constructor(code: ErrorCode, message: string, path?: string, details?: Readonly<Record<string, unknown>>) {
    super(message)
    this.name = 'Refusal'
    this.code = code
    this.path = path
    this.details = details
  }

  body(): ErrorBody {
    return {
      code: this.code,
      message: this.message,
      ...(this.path === undefined ? {} : { path: this.path }),
      ...(this.details === undefined ? {} : { details: this.details }),
    }
  }
}

/**
 * Says why a start cannot go on: the message is written for the person who starts the bridge, and says all. Where in
 * the code it was found helps nobody, so no stack is logged.
 */
export class StartError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StartError'
  }
}

/** A configuration that is sound by itself names what cannot be used: starting again will not help. */
export class MisconfiguredError extends StartError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'MisconfiguredError'
  }
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
