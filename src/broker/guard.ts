import { proxyHeaderVersion } from '../kernel/proxy-header.ts'
import { SkimmedKeys } from '../protocol/skimmed-keys.ts'
import type { AedesClient } from './aedes-internals.ts'
import { CONNECT, checkFrame, levelOf, UNKNOWN_LEVEL } from './frame-checks.ts'
import { type Frame, FrameSplitter, type Verdict } from './frame-splitter.ts'
import { Reader } from './mqtt5/reader.ts'

/** Says what the packets of one session may cost now. */
export interface PacketLimits {
  /** The largest packet, header included. */
  readonly maxPacketBytes: number
  readonly maxTopicBytes: number
}

/**
 * Says where the packets of one connection go. A translator of another version of MQTT stands in `take` and `parse`.
 */
export interface GuardOptions {
  readonly limits: PacketLimits
  /** Takes a whole packet that passed its checks, or lets it go on to `parse`; see FrameSplitter. */
  readonly take: (frame: Frame, flush: () => void) => Verdict
  /** Hands whole, checked packets to Aedes' parser. */
  readonly parse: (packets: Buffer) => void
  /** The stream ends here: the connection must be closed. `claims5`: at a CONNECT of MQTT 5 that was not read. */
  readonly violated: (fault: string, claims5: boolean) => void
  /** CONNACK in a form that the client understands, then the end. */
  readonly refuseLevel: (level: number) => void
  /** A CONNECT of MQTT 5: as one of MQTT 3.1.1, or undefined when the connection ends. */
  readonly connect5: (frame: Frame) => Buffer | undefined
  /** Takes every packet that follows such a CONNECT; it checks them itself. */
  readonly take5: (frame: Frame, flush: () => void) => Verdict
  /** Returns whether a PUBLISH of this size is read over rather than the end of the session. */
  readonly readsOver: (bytes: number) => boolean
  /** A PUBLISH of `bytes` was read over; `beginning` is checked, and ends where its payload began. */
  readonly readOver: (beginning: Frame, bytes: number, keys: SkimmedKeys) => void
  /** The same of MQTT 5; `beginning` is not checked, and ends anywhere. */
  readonly readOver5: (beginning: Frame, bytes: number, keys: SkimmedKeys) => void
  /** Returns whether a large packet that is not whole may be collected; who says no calls `resume` when it may. */
  readonly mayCollect: (bytes: number) => boolean
  /** The collected packet is whole, or given up. */
  readonly collected: () => void
  readonly failed: (error: unknown) => void
}

/** The fault that is a limit of ours rather than a rule of MQTT. */
export const TOO_LARGE = 'packet too large'

const PUBLISH = 3
/** The bits of QoS 1 and 2 in the first byte of PUBLISH. */
const QOS = 6
/** The most bytes of type and length. */
const HEADER_BYTES = 5
/** The keys of a message that is read over by which somebody who waits for it is found. */
const TELLING_KEYS = ['invocationId', 'success', 'transaction']

/**
 * The bytes that a connecting client may have sent beyond its CONNECT before it has CONNACK [MQTT-3.1.4-5]: Aedes
 * reads one chunk, and the socket is paused then.
 */
const MAX_HELD_BYTES = 160 * 1024

/**
 * Stands between the socket and Aedes' parser, which takes packets of any size before and after sign-in, and
 * strings of any content. Keeps back what follows CONNECT until CONNACK was written.
 */
export class Guard extends FrameSplitter {
  /** Called after each chunk, while somebody wants to know. */
  onFed: (() => void) | undefined
  readonly #options: GuardOptions
  #stage: 'first' | 'connecting' | 'open' | 'closed' = 'first'
  #isVersion5 = false
  /** Holds those of the message that is being read over. */
  #keys: SkimmedKeys | undefined

  constructor(options: GuardOptions) {
    super()
    this.#options = options
  }

  override feed(chunk: Buffer): void {
    if (this.#stage === 'closed') return
    const proxied = this.#stage === 'first' && !this.isPartial ? proxyHeaderIn(chunk) : undefined
    if (proxied !== undefined) {
      this.malformed(proxied)
      return
    }
    try {
      super.feed(chunk)
    } catch (error) {
      this.#options.failed(error)
    }
    if (this.#stage === 'connecting' && this.heldBytes > MAX_HELD_BYTES) {
      this.malformed('too much before CONNACK')
    }
    this.onFed?.()
  }

  /** Chunks that come before CONNACK wait in the stream, and are kept. */
  override copies(bytes: number): boolean {
    return this.#stage === 'open' && super.copies(bytes)
  }

  /** Shows whether CONNECT is still to come, in whole or in part. */
  get isFirst(): boolean {
    return this.#stage === 'first'
  }

  /** CONNACK was written: what waits may go on to Aedes from the next microtask on, or when `resume` is called. */
  open(goesOn: boolean): void {
    if (this.#stage !== 'connecting') return
    this.#stage = 'open'
    // Aedes sets `connackSent` right after it told us.
    if (goesOn) queueMicrotask(() => this.resume())
  }

  /** Goes on after `pause`; before CONNACK nothing does. */
  override resume(): void {
    if (this.#stage !== 'open') return
    try {
      super.resume()
    } catch (error) {
      this.#options.failed(error)
    }
  }

  close(): void {
    this.#stage = 'closed'
    this.stop()
  }

  protected announced(first: number, bytes: number): string | undefined {
    if (this.#stage === 'first' && first >> 4 !== CONNECT) return 'the first packet is not CONNECT'
    return bytes > this.#options.limits.maxPacketBytes ? TOO_LARGE : undefined
  }

  /**
   * Reads over a message: a client whose connection ends sends its message of QoS 1 or 2 again for ever, and whoever
   * waits for what is in it can be told when its end has come.
   */
  protected readsOver(first: number, bytes: number): boolean {
    return first >> 4 === PUBLISH && this.#stage === 'open' && this.#options.readsOver(bytes)
  }

  protected skipping(head: Buffer): void {
    const end = endOfTopic(head, bodyOf(head))
    const keys = new SkimmedKeys(TELLING_KEYS)
    keys.feed(head.subarray(this.#isVersion5 ? endOfProperties(head, end) : end))
    this.#keys = keys
  }

  protected skippedPiece(piece: Buffer): void {
    this.#keys?.feed(piece)
  }

  protected skipped(head: Buffer, bytes: number): void {
    const body = bodyOf(head)
    const keys = this.#keys as SkimmedKeys
    this.#keys = undefined
    if (this.#isVersion5) {
      this.#options.readOver5({ bytes: head, start: 0, body, end: head.length }, bytes, keys)
      return
    }
    const end = endOfTopic(head, body)
    const fault = checkFrame(head, 0, body, Math.min(end, head.length), this.#options.limits.maxTopicBytes)
    if (fault === undefined) this.#options.readOver({ bytes: head, start: 0, body, end }, bytes, keys)
    else this.malformed(fault)
  }

  protected take(frame: Frame, flush: () => void): Verdict {
    const { bytes, start, body, end } = frame
    const { limits, take, take5 } = this.#options
    if (this.#isVersion5) return take5(frame, flush)
    const fault = checkFrame(bytes, start, body, end, limits.maxTopicBytes)
    if (fault === UNKNOWN_LEVEL) return this.#otherLevel(frame, levelOf(bytes, body))
    if (fault !== undefined) return this.#stop(fault)
    return (bytes[start] as number) >> 4 === CONNECT ? this.#connect() : take(frame, flush)
  }

  protected parse(packets: Buffer): void {
    this.#options.parse(packets)
  }

  protected mayCollect(bytes: number): boolean {
    return this.#options.mayCollect(bytes)
  }

  protected collected(): void {
    this.#options.collected()
  }

  malformed(fault: string, begun?: Buffer): void {
    const claims5 = this.#stage === 'first' && begun !== undefined && beginsConnect5(begun)
    this.close()
    this.#options.violated(fault, claims5)
  }

  #stop(fault: string): Verdict {
    this.malformed(fault)
    return 'stop'
  }

  #otherLevel(frame: Frame, level: number): Verdict {
    if (level === 5 && this.#stage === 'first') return this.#connect5(frame)
    this.close()
    this.#options.refuseLevel(level)
    return 'stop'
  }

  #connect5(frame: Frame): Verdict {
    this.#isVersion5 = true
    const packet = this.#options.connect5(frame)
    if (packet === undefined) return 'stop'
    this.#stage = 'connecting'
    // What follows waits until CONNACK is out.
    this.pause()
    this.#options.parse(packet)
    return 'taken'
  }

  #connect(): Verdict {
    if (this.#stage !== 'first') return this.#stop('a second CONNECT')
    this.#stage = 'connecting'
    return 'hold'
  }
}

/** The protocol name and the level of MQTT 5, as they stand in CONNECT. */
const NAME_AND_LEVEL_5 = Buffer.from('\0\x04MQTT\x05', 'latin1')

/** Returns where the variable header begins. */
function bodyOf(packet: Buffer): number {
  let body = 1
  while (body < HEADER_BYTES && (packet[body++] ?? 0) >= 0x80);
  return body
}

/** Returns where the topic of a PUBLISH ends, with its packet identifier. */
function endOfTopic(packet: Buffer, body: number): number {
  return body + 2 + packet.readUInt16BE(body) + (((packet[0] as number) & QOS) === 0 ? 0 : 2)
}

/** Returns where the properties end that begin at `at`. */
function endOfProperties(packet: Buffer, at: number): number {
  const reader = new Reader(packet, at, packet.length)
  const length = reader.varint()
  return reader.at + length
}

/** Returns whether a packet that has begun is a CONNECT of MQTT 5. */
function beginsConnect5(begun: Buffer): boolean {
  const body = bodyOf(begun)
  return begun.subarray(body, body + NAME_AND_LEVEL_5.length).equals(NAME_AND_LEVEL_5)
}

/** Names what a proxy writes before the packets of its client when nobody asked it to. */
function proxyHeaderIn(chunk: Buffer): string | undefined {
  const version = proxyHeaderVersion(chunk)
  return (
    version &&
    `a header of the PROXY protocol (v${version}), which this listener does not take from there: turn it off in the proxy, or name the proxy in proxyNetworks`
  )
}

/** Puts a guard in front of the parser of an Aedes client that has not read a byte; returns the parser behind. */
export function standBefore(parser: AedesClient['_parser'], guard: Guard): (packets: Buffer) => void {
  const parse = parser.parse
  parser.parse = (chunk) => {
    guard.feed(chunk)
    return 0
  }
  return (packets) => {
    parse.call(parser, packets)
  }
}
