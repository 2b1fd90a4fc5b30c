import type { Clock } from '../../kernel/clock.ts'
import { type ErrorCode, Refusal } from '../../kernel/errors.ts'
import { TurnTime } from '../../kernel/turn-time.ts'
import { matches } from '../access/lease-rights.ts'
import type { LiveLimb } from '../live/registry.ts'
import type { Invocations } from './invocations.ts'
import type { OpenInvocation } from './open-invocation.ts'
import { offline, type TargetSelector } from './target.ts'

/** The errors that do not pass by themselves, as a connection that is lost for a moment does. */
const LASTING: readonly ErrorCode[] = ['denied', 'invalid_request', 'not_found', 'unknown_command']

/** The time of a turn of the event loop in which invocations are looked at: for each a policy may be read. */
const LOOKING_MS = 5

/** An invocation in the queue for a lease that could not run when its turn comes is told so at once, not then. */
export class QueuedInvocations {
  readonly #invocations: Invocations
  readonly #targets: TargetSelector
  readonly #time: TurnTime

  constructor(invocations: Invocations, targets: TargetSelector, clock: Clock) {
    this.#invocations = invocations
    this.#targets = targets
    this.#time = new TurnTime(clock, LOOKING_MS)
  }

  /** The policy or the capabilities of a limb are other ones. `*` is any. Never rejects. */
  async look(at: { principal: string; nodeId: string }): Promise<void> {
    for (const invocation of this.#invocations.open.values()) {
      const { principal, nodeId } = invocation.record
      if (!queued(invocation) || !(matches(at.principal, principal) && matches(at.nodeId, nodeId))) continue
      if (!this.#time.isLeft) await this.#time.next()
      try {
        await this.#targets.check(principal, nodeId, invocation.wish)
      } catch (error) {
        if (!(error instanceof Refusal) || !LASTING.includes(error.code)) continue
        this.#invocations.cancel((each) => each === invocation && queued(invocation), error)
      }
    }
  }

  limbGone(limb: LiveLimb): void {
    const { nodeId } = limb.record
    const { open } = this.#invocations
    if (open.meantFor(nodeId) === 0) return
    const leftBehind = (invocation: OpenInvocation) =>
      invocation.record.nodeId === nodeId && queued(invocation) && !invocation.isAway
    for (const invocation of open.values()) {
      // It leaves the queue, and waits for the limb.
      if (invocation.wish.offlineWaitMs > 0 && leftBehind(invocation)) invocation.wait?.reject(offline(limb))
    }
    this.#invocations.cancel(
      (invocation) => invocation.wish.offlineWaitMs === 0 && leftBehind(invocation),
      offline(limb),
    )
  }
}

function queued({ record, wait }: OpenInvocation): boolean {
  return record.state === 'queued' && wait !== undefined
}
