import { endStateOf, type InvocationRecord } from '../../domain/invocations.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { InvocationState } from '../../protocol/names.ts'
import { askerGone } from './answers.ts'
import { type Cancelled, isUnwanted, type OpenInvocation } from './open-invocation.ts'

/** Decides how an invocation ends that something from outside ends, or that failed. */

/** The end of what nobody can be given the answer of. */
export const ASKER_GONE = (): Cancelled => ({ error: askerGone(), state: 'cancelled' })

/** Ends an invocation from outside, whatever step it is in; the first one to do so counts. */
export function endFromOutside(invocation: OpenInvocation, why: Cancelled): void {
  if (invocation.cancelled) return
  invocation.cancelled = why
  invocation.wait?.reject(why.error)
}

/** @throws Refusal when it was cancelled, or has come to wait with nobody to wait for it. */
export function checkWanted(invocation: OpenInvocation): void {
  if (isUnwanted(invocation)) endFromOutside(invocation, ASKER_GONE())
  if (invocation.cancelled) throw invocation.cancelled.error
}

/** Returns why an invocation ended: what ended it from outside, whatever the step that it was in makes of that. */
export function causeOf(error: unknown, invocation: OpenInvocation | undefined): unknown {
  const outside = invocation?.record.endedAt === null ? invocation.cancelled : undefined
  return outside && error instanceof Refusal ? outside.error : error
}

/** Returns the state in which it ended. One that an operator denied has ended already. */
export function endedAs({ record, cancelled }: OpenInvocation, refusal: Refusal): InvocationState {
  if (record.endedAt !== null) return record.state
  return cancelled?.state ?? endStateOf(record.state, refusal.body())
}

export function runsAlready({ invocationId, nodeId }: InvocationRecord): Refusal {
  const message = `${invocationId} runs on ${nodeId} already; the bridge has no way of stopping a limb`
  return new Refusal('conflict', message, 'invocationId', { state: 'running' })
}

export function endedAlready({ invocationId, state }: InvocationRecord): Refusal {
  return new Refusal('conflict', `${invocationId} has ended already: it is ${state}`, 'invocationId', {
    state,
  })
}
