import type { Writable } from 'node:stream'
import type { Qos } from './aedes-internals.ts'

/**
 * PUBLISH as bytes (MQTT 3.1.1 and 5, section 3.3). The bytes of one message are made once for all its subscribers;
 * Aedes would make them, in seven writes, for each.
 */

const PUBLISH = 0x30

function lengthBytes(length: number): number {
  return length < 128 ? 1 : length < 16_384 ? 2 : length < 2_097_152 ? 3 : 4
}

/** A message's bytes up to its payload; returns where the packet identifier stands (0 at QoS 0). */
function writeHead(
  to: Buffer,
  topic: string,
  topicBytes: number,
  remaining: number,
  qos: Qos,
  flags: number,
): number {
  to[0] = PUBLISH | (qos << 1) | flags
  let at = 1
  for (let left = remaining; ; ) {
    const rest = left >>> 7
    to[at++] = rest > 0 ? (left & 0x7f) | 0x80 : left
    if (rest === 0) break
    left = rest
  }
  at = to.writeUInt16BE(topicBytes, at)
  at += to.write(topic, at, 'utf8')
  return qos > 0 ? at : 0
}

/** Larger payloads are not copied for each subscriber. */
const COPY_BYTES = 4096

/** One message at one QoS, ready for any number of subscribers. */
export class PublishFrame {
  readonly bytes: number
  readonly #head: Buffer
  readonly #idAt: number
  /** Written after the head; undefined when the head holds it already. */
  readonly #tail: Uint8Array | undefined

  /** `properties`: of MQTT 5, their length in front. `dup`: it was sent before. */
  constructor(
    topic: string,
    payload: Uint8Array,
    qos: Qos,
    retain: boolean,
    dup = false,
    properties?: Uint8Array,
  ) {
    const topicBytes = Buffer.byteLength(topic)
    const propertyBytes = properties?.length ?? 0
    const remaining = 2 + topicBytes + (qos > 0 ? 2 : 0) + propertyBytes + payload.length
    const headBytes = 1 + lengthBytes(remaining) + remaining - payload.length
    const whole = payload.length <= COPY_BYTES
    this.#head = Buffer.allocUnsafe(whole ? headBytes + payload.length : headBytes)
    this.#idAt = writeHead(this.#head, topic, topicBytes, remaining, qos, (retain ? 1 : 0) | (dup ? 8 : 0))
    if (properties !== undefined) this.#head.set(properties, headBytes - propertyBytes)
    if (whole) this.#head.set(payload, headBytes)
    this.#tail = whole ? undefined : payload
    this.bytes = headBytes + payload.length
  }

  /** Writes the message; `messageId` counts at QoS 1 and 2 only. `taken`: the stream has handed it on, or never will. */
  writeTo(stream: Writable, messageId: number, taken?: () => void): void {
    let head = this.#head
    if (this.#idAt > 0) {
      head = Buffer.allocUnsafe(head.length)
      head.set(this.#head)
      head.writeUInt16BE(messageId, this.#idAt)
    }
    if (this.#tail === undefined) {
      stream.write(head, taken)
      return
    }
    stream.cork()
    stream.write(head)
    stream.write(this.#tail, taken)
    stream.uncork()
  }
}

/** The topic of messages that are dropped behind the parser; nobody may publish there. */
export const SINK = '$sink'

/** Makes a PUBLISH without a payload that ends in the sink: what is left of it is its handshake. */
export function toSink(first: number, id: number): Buffer {
  const packet = Buffer.alloc(6 + SINK.length)
  packet[0] = first & ~1
  packet[1] = packet.length - 2
  packet.writeUInt16BE(SINK.length, 2)
  packet.write(SINK, 4)
  packet.writeUInt16BE(id, packet.length - 2)
  return packet
}

export function puback(id: number): Buffer {
  return answer(0x40, id)
}

export function pubrel(id: number): Buffer {
  return answer(0x62, id)
}

function answer(first: number, id: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes[0] = first
  bytes[1] = 2
  bytes[2] = id >> 8
  bytes[3] = id & 0xff
  return bytes
}

/** CONNACK that refuses, with a return code of MQTT 3.1.1. */
export function refusal(code: number): Buffer {
  return Buffer.from([0x20, 2, 0, code])
}

/** CONNACK that refuses, with a reason code of MQTT 5 and no properties. */
export function refusalV5(code: number): Buffer {
  return Buffer.from([0x20, 3, 0, code, 0])
}
