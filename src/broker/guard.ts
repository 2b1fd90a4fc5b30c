import { CONNECT, checkFrame, DISCONNECT, levelOf, PUBLISH, UNKNOWN_LEVEL } from './frame-checks.ts'
import { type FrameSink, FrameSplitter } from './frame-splitter.ts'
import { PUBACK, PUBCOMP, PUBREC } from './handshakes.ts'

/** What the guard tells its session. */
export interface GuardOwner {
  /** Largest packet, header included, that the session may send now. */
  readonly maxPacketBytes: number
  readonly maxTopicBytes: number
  /** Hands whole, checked packets to Aedes' parser. */
  parse(packets: Buffer): void
  /** Whether a PUBLISH that passed its checks goes the short way. */
  isShort(first: number, bytes: Buffer, body: number): boolean
  /** True: it is dealt with, Aedes never sees it. */
  takeShort(bytes: Buffer, end: number): boolean
  /** Called for each whole packet after sign-in, before any work; may pause the guard. */
  received(first: number, bytes: number): void
  disconnecting(): void
  /** PUBACK, PUBREC or PUBCOMP; false when the message with this identifier cannot have it. */
  answered(type: number, id: number): boolean
  violated(fault: string): void
  /** CONNACK in a form that the client understands, then the end. */
  refuseLevel(level: number): void
}

/** The fault that is a limit of ours rather than a rule of MQTT. */
export const TOO_LARGE = 'packet too large'

/**
 * What a connecting client may have sent beyond its CONNECT before it has CONNACK [MQTT-3.1.4-5]: Aedes reads
 * one chunk, and the socket is paused then.
 */
const MAX_HELD_BYTES = 160 * 1024

/**
 * Stands between the socket and Aedes' parser, which takes packets of any size before and after sign-in, and
 * strings of any content. Keeps back what follows CONNECT until CONNACK was written.
 */
export class Guard implements FrameSink {
  readonly #owner: GuardOwner
  readonly #splitter: FrameSplitter
  #stage: 'first' | 'connecting' | 'open' | 'closed' = 'first'

  constructor(owner: GuardOwner) {
    this.#owner = owner
    this.#splitter = new FrameSplitter(this)
  }

  feed(chunk: Buffer): void {
    if (this.#stage === 'closed') return
    this.#splitter.feed(chunk)
    if (this.#stage === 'connecting' && this.#splitter.heldBytes > MAX_HELD_BYTES) {
      this.malformed('too much before CONNACK')
    }
  }

  /** CONNACK was written: what waits may go on to Aedes from the next microtask on. */
  open(): void {
    if (this.#stage !== 'connecting') return
    this.#stage = 'open'
    // Aedes sets `connackSent` right after it told us.
    queueMicrotask(() => this.#splitter.resume())
  }

  /** Nothing is handed on until `resume`; what comes meanwhile waits. */
  pause(): void {
    this.#splitter.pause()
  }

  resume(): void {
    if (this.#stage === 'open') this.#splitter.resume()
  }

  close(): void {
    this.#stage = 'closed'
    this.#splitter.stop()
  }

  announced(first: number, bytes: number): string | undefined {
    if (this.#stage === 'first' && first >> 4 !== CONNECT) return 'the first packet is not CONNECT'
    return bytes > this.#owner.maxPacketBytes ? TOO_LARGE : undefined
  }

  frame(chunk: Buffer, start: number, body: number, end: number): 'pass' | 'offer' | 'hold' | 'stop' {
    const first = chunk[start] as number
    const fault = checkFrame(chunk, start, body, end, this.#owner.maxTopicBytes)
    if (fault !== undefined) {
      if (fault === UNKNOWN_LEVEL) this.#refuseLevel(levelOf(chunk, body))
      else this.malformed(fault)
      return 'stop'
    }
    if (this.#stage === 'open') this.#owner.received(first, end - start)
    switch (first >> 4) {
      case PUBLISH:
        return this.#owner.isShort(first, chunk, body) ? 'offer' : 'pass'
      case CONNECT:
        return this.#connect()
      case PUBACK:
      case PUBREC:
      case PUBCOMP:
        return this.#answered(first >> 4, chunk.readUInt16BE(body))
      case DISCONNECT:
        this.#owner.disconnecting()
    }
    return 'pass'
  }

  take(chunk: Buffer, end: number): boolean {
    return this.#owner.takeShort(chunk, end)
  }

  pass(packets: Buffer): void {
    this.#owner.parse(packets)
  }

  malformed(fault: string): void {
    this.close()
    this.#owner.violated(fault)
  }

  #refuseLevel(level: number): void {
    this.close()
    this.#owner.refuseLevel(level)
  }

  #answered(type: number, id: number): 'pass' | 'stop' {
    if (this.#owner.answered(type, id)) return 'pass'
    this.malformed('an acknowledgement of another handshake')
    return 'stop'
  }

  #connect(): 'hold' | 'stop' {
    if (this.#stage !== 'first') {
      this.malformed('a second CONNECT')
      return 'stop'
    }
    this.#stage = 'connecting'
    return 'hold'
  }
}
