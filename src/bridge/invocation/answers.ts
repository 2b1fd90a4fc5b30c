import { shallow } from '../../domain/canonical.ts'
import { nodeErrorText } from '../../domain/invocations.ts'
import { type ErrorBody, Refusal } from '../../kernel/errors.ts'
import { escapeText } from '../../kernel/escape-text.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { InvocationResult } from '../../protocol/schemas.ts'
import type { InvokeAnswer } from './open-invocation.ts'

/** Makes the caller's answer of what a limb said. @throws Refusal `node_error` */
export function answerOf(
  nodeId: string,
  invocationId: string,
  result: InvocationResult | undefined,
): InvokeAnswer {
  if (result === undefined) throw new Refusal('internal', 'the bridge failed; its log says why')
  if (!shallow(result.data) || !shallow(result.error)) {
    throw new Refusal(
      'node_error',
      `${nodeId} answered with JSON nested deeper than ${LIMITS.jsonDepth} levels`,
    )
  }
  if (!result.success) {
    const text = escapeText(nodeErrorText(result.error, LIMITS.nodeErrorChars))
    throw new Refusal('node_error', `${nodeId} says: ${text}`, undefined, {
      nodeError: bounded(result.error),
    })
  }
  return {
    invocationId,
    nodeId,
    ...(result.data === undefined ? {} : { data: result.data }),
    ...(result.artifactUri === undefined ? {} : { artifactUri: result.artifactUri }),
  }
}

/** The refusal of an answer that is no result; `why` may hold words of the limb. */
export function wrongResult(nodeId: string, why: string): Refusal {
  const text = `${nodeId} sent a wrong result: ${escapeText(why)}`
  return new Refusal('node_error', text, undefined, { nodeError: escapeText(why) })
}

/** The limb's own error for programs, unless it is a novel. */
function bounded(error: unknown): unknown {
  const text = JSON.stringify(error) ?? 'null'
  return text.length <= LIMITS.nodeErrorChars ? (error ?? null) : nodeErrorText(text, LIMITS.nodeErrorChars)
}

export function refusalOf({ code, message, path, details }: ErrorBody): Refusal {
  return new Refusal(code, message, path, details)
}

export function otherInvocation(): Refusal {
  return new Refusal(
    'conflict',
    'this idempotencyKey was used for another invocation; take a new key for a new invocation',
    'idempotencyKey',
  )
}

/** The refusal of an invocation that was taken back before it was sent. */
export function takenBack(by: string, reason: string | undefined): Refusal {
  return new Refusal(
    'cancelled',
    `${by} cancelled it${reason === undefined ? '' : `: ${reason}`}; it did not run`,
  )
}

/**
 * The refusal of an invocation whose session has ended while it waited, and that has no key to ask for its answer
 * with.
 */
export function askerGone(): Refusal {
  return new Refusal('cancelled', 'the session that asked has ended; it did not run')
}

export function decidedAlready(): Refusal {
  return new Refusal('conflict', 'it was decided already; see invocation/get', 'invocationId')
}
