import type { Identity, Session, SessionEnd } from '../../bridge/ports.ts'
import type { Clock } from '../../kernel/clock.ts'
import type { Topics } from '../../protocol/topics.ts'

/** Invocations that may wait for the next poll; the policy's own limits are tighter. */
const MAX_WAITING = 64
/** Their bytes, of one limb and of all limbs: they are here until the next poll, also when nobody waits for them any more. */
const MAX_WAITING_BYTES = 4_194_304
const MAX_WAITING_BYTES_IN_ALL = 33_554_432

/** The bytes of what waits for all limbs that speak HTTP. */
export interface WaitingBytes {
  bytes: number
}

/**
 * Is a limb that speaks HTTP, to the use cases a session like any other. What it is sent on `pairing` becomes the
 * answer of the request under way; what it is sent on `invoke` waits for its next poll.
 */
export class HttpLimbSession implements Session {
  identity: Identity
  readonly clientId = 'http'
  readonly address: string
  readonly #topics: Topics
  readonly #onEnd: (why: SessionEnd) => void
  readonly #invocations: Uint8Array[] = []
  #invocationBytes = 0
  readonly #ofAll: WaitingBytes
  #answers: Uint8Array[] = []
  #wake: (() => void) | undefined
  #polledUntilMs = Number.NEGATIVE_INFINITY
  readonly #clock: Clock
  /** Monotonic milliseconds of its last request. */
  usedAtMs: number
  alive = true

  constructor(
    identity: Identity,
    address: string,
    options: { topics: Topics; clock: Clock; ofAll: WaitingBytes; onEnd: (why: SessionEnd) => void },
  ) {
    this.identity = identity
    this.address = address
    this.#topics = options.topics
    this.#clock = options.clock
    this.#ofAll = options.ofAll
    this.#onEnd = options.onEnd
    this.usedAtMs = options.clock.monotonicMs()
  }

  get #nodeId(): string {
    return this.identity.kind === 'principal' ? '' : this.identity.nodeId
  }

  /** A limb that polls takes invocations between two polls too, for as long as the next one may take to come. */
  subscribedTo(topic: string): boolean {
    if (topic === this.#topics.node(this.#nodeId, 'pairing')) return true
    return (
      topic === this.#topics.node(this.#nodeId, 'invoke') && this.#clock.monotonicMs() < this.#polledUntilMs
    )
  }

  send(topic: string, payload: Uint8Array): boolean {
    if (!this.alive || !this.subscribedTo(topic)) return false
    if (topic === this.#topics.node(this.#nodeId, 'pairing')) {
      this.#answers.push(payload)
      // Nobody waits for more than the newest: a limb asks for what it wants to know.
      if (this.#answers.length > 4) this.#answers.shift()
      return true
    }
    if (!this.#hasRoomFor(payload.length)) return false
    this.#invocations.push(payload)
    this.#count(payload.length)
    this.#wake?.()
    return true
  }

  #hasRoomFor(bytes: number): boolean {
    return (
      this.#invocations.length < MAX_WAITING &&
      this.#invocationBytes + bytes <= MAX_WAITING_BYTES &&
      this.#ofAll.bytes + bytes <= MAX_WAITING_BYTES_IN_ALL
    )
  }

  #count(bytes: number): void {
    this.#invocationBytes += bytes
    this.#ofAll.bytes += bytes
  }

  #takeInvocation(): Uint8Array | undefined {
    const invocation = this.#invocations.shift()
    this.#count(-(invocation?.length ?? 0))
    return invocation
  }

  /** Takes what was said on `pairing` since the last time, oldest first. */
  takeAnswers(): readonly Uint8Array[] {
    return this.#answers.splice(0)
  }

  /** It asks for work from now on, for so long. */
  expectPoll(waitMs: number, slackMs: number): void {
    this.#polledUntilMs = this.#clock.monotonicMs() + waitMs + slackMs
  }

  /** The next invocation; undefined when there is none in time, or the session ends. */
  async next(waitMs: number, slackMs: number, signal: AbortSignal): Promise<Uint8Array | undefined> {
    this.#wake?.()
    this.expectPoll(waitMs, slackMs)
    if (this.#invocations.length === 0 && waitMs > 0 && this.alive && !signal.aborted) {
      let wake = () => {}
      await new Promise<void>((resolve) => {
        const cancel = this.#clock.after(waitMs, resolve)
        wake = () => {
          cancel()
          resolve()
        }
        this.#wake = wake
        signal.addEventListener('abort', wake, { once: true })
      })
      // A newer poll has taken its place: what comes is for that one.
      if (this.#wake !== wake) return undefined
      this.#wake = undefined
    }
    this.#polledUntilMs = this.#clock.monotonicMs() + slackMs
    // Whoever has gone gets nothing: it waits for the next poll.
    return signal.aborted ? undefined : this.#takeInvocation()
  }

  end(why: SessionEnd): void {
    if (!this.alive) return
    this.alive = false
    this.#invocations.length = 0
    this.#count(-this.#invocationBytes)
    this.#wake?.()
    this.#onEnd(why)
  }
}
