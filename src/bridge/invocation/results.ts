import { Counts } from '../../kernel/counts.ts'
import { messageOf } from '../../kernel/errors.ts'
import { LogThrottle } from '../../kernel/log-throttle.ts'
import { check, parseJson } from '../../protocol/decode.ts'
import { fastResult } from '../../protocol/fast-invocations.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { invocationResultSchema } from '../../protocol/schemas.ts'
import { SkimmedKeys } from '../../protocol/skimmed-keys.ts'
import type { Session, UnreadMessage } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { Invocations } from './invocations.ts'

/**
 * A result that answers no invocation is logged this often for each limb, with how many were not, and counted always.
 */
const PACE = { quietMs: 10_000, lines: 1, maxKeys: 1000, maxLines: 50 } as const

/** A limb that makes ids up must not keep the database busy. */
const MAX_LOOKING = 16

type Dropped = 'unknown' | 'invalid' | 'too_large'

/** Takes what limbs answer on `result`: it is matched by invocation and node, or dropped, counted and logged. */
export class Results {
  readonly #context: BridgeContext
  readonly #invocations: Invocations
  readonly #throttle: LogThrottle

  /** Results of each limb that are looked for on record now. */
  readonly #looking = new Counts()

  constructor(context: BridgeContext, invocations: Invocations) {
    this.#context = context
    this.#invocations = invocations
    this.#throttle = new LogThrottle(context.clock, PACE)
  }

  stop(): void {
    this.#throttle.stop()
  }

  /**
   * Total. A wrong answer to an invocation that waits ends the invocation at once: the limb will send no better one.
   */
  receive(session: Session, payload: Uint8Array, correlation?: Uint8Array): void {
    const { identity } = session
    if (identity.kind !== 'limb') return
    const { nodeId } = identity
    let named: Named | undefined
    try {
      const value = withId(parseJson(payload, 2 * LIMITS.resultBytes), correlation)
      named = namedBy(value)
      if (payload.length > LIMITS.resultBytes) {
        this.#wrong(nodeId, named, 'too_large', `it has ${payload.length} bytes; ${ADVICE}`)
        return
      }
      const result = fastResult(value) ?? check(invocationResultSchema, value)
      if (this.#invocations.settle(nodeId, result)) return
      this.#late(nodeId, result.invocationId, result.success)
      this.#drop(
        nodeId,
        'unknown',
        named.invocationId,
        'no invocation of this limb waits for it: late, twice, or foreign',
      )
    } catch (error) {
      this.#wrong(
        nodeId,
        named ?? namedBy(withId(skimmed(payload), correlation)),
        'invalid',
        messageOf(error),
      )
    }
  }

  /** Takes what is known of a result that was too large to be kept: its invocation ends at once too. Total. */
  unread({ identity }: Session, { bytes, context, keys }: UnreadMessage): void {
    if (identity.kind !== 'limb') return
    const named = namedBy(withId(knownOf(keys), context?.correlation))
    this.#wrong(identity.nodeId, named, 'too_large', `its packet has ${bytes} bytes; ${ADVICE}`)
  }

  /** Records a late result: what a limb did after its time was up is done, and is shown to whoever looks. */
  #late(nodeId: string, invocationId: string, success: boolean): void {
    if (this.#looking.of(nodeId) >= MAX_LOOKING) return
    this.#looking.add(nodeId)
    this.#invocations
      .late(nodeId, invocationId, success)
      .catch((error: unknown) => {
        this.#context.log.warn(
          { nodeId, invocationId, error: messageOf(error) },
          'a late result is not on record',
        )
      })
      .finally(() => {
        this.#looking.remove(nodeId)
      })
  }

  #wrong(nodeId: string, { invocationId, success }: Named, why: Dropped, message: string): void {
    if (invocationId !== undefined && !this.#invocations.settleWrong(nodeId, invocationId, message)) {
      this.#late(nodeId, invocationId, success === true)
    }
    this.#drop(nodeId, why, invocationId, message)
  }

  #drop(nodeId: string, why: Dropped, id: string | undefined, message: string): void {
    const { counters, log } = this.#context
    counters.count('results_dropped', why)
    this.#throttle.write(nodeId, (suppressed) =>
      log.warn({ nodeId, invocationId: id, why, suppressed }, `result of ${nodeId} dropped: ${message}`),
    )
  }
}

const ADVICE = `the limit is ${LIMITS.resultBytes}; send large things elsewhere and tell where in artifactUri`

/** A limb may name the invocation in its correlation data alone. */
function withId(value: unknown, correlation: Uint8Array | undefined): unknown {
  if (correlation === undefined || typeof value !== 'object' || value === null || Array.isArray(value))
    return value
  return 'invocationId' in value ? value : { ...value, invocationId: Buffer.from(correlation).toString() }
}

/** Looks for what names the invocation in a result that cannot be read as a whole. */
function skimmed(payload: Uint8Array): object {
  const keys = new SkimmedKeys(['invocationId', 'success'])
  keys.feed(Buffer.from(payload.buffer, payload.byteOffset, payload.length))
  return knownOf(keys)
}

function knownOf(keys: UnreadMessage['keys']): object {
  const [invocationId, success] = [keys.get('invocationId'), keys.get('success')]
  return invocationId === undefined ? { success } : { invocationId, success }
}

/** The part of a result that can be read although it cannot be taken. */
interface Named {
  readonly invocationId?: string
  readonly success?: boolean
}

function namedBy(value: unknown): Named {
  if (typeof value !== 'object' || value === null || !('invocationId' in value)) return {}
  const { invocationId } = value
  if (typeof invocationId !== 'string' || invocationId.length > 64) return {}
  return { invocationId, success: 'success' in value && value.success === true }
}
