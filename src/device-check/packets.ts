import { IN, readProperties } from '../broker/mqtt5/properties.ts'
import { Reader } from '../broker/mqtt5/reader.ts'

/**
 * Reads the packets between a device and the bridge, to look at them: the bridge itself judges the bytes. What cannot be
 * read here is `other`.
 */

export type Packet =
  | SeenConnect
  | SeenPublish
  | { readonly kind: 'connack'; readonly code: number }
  | { readonly kind: 'subscribe'; readonly id: number; readonly filters: readonly SubscribedFilter[] }
  | { readonly kind: 'suback'; readonly id: number; readonly codes: readonly number[] }
  | { readonly kind: 'puback'; readonly id: number }
  | { readonly kind: 'disconnect' }
  | { readonly kind: 'other' }

export interface SeenConnect {
  readonly kind: 'connect'
  /** The version as MQTT numbers it: 3 (3.1), 4 (3.1.1) or 5. */
  readonly version: number
  readonly clientId: string
  readonly user: string | undefined
  readonly key: string | undefined
  readonly keepalive: number
}

export interface SeenPublish {
  readonly kind: 'publish'
  /** Empty in MQTT 5 when `alias` stands for it. */
  readonly topic: string
  readonly alias: number | undefined
  readonly payload: Buffer
  readonly qos: number
  readonly retain: boolean
}

export interface SubscribedFilter {
  readonly filter: string
  readonly qos: number
}

const OTHER: Packet = { kind: 'other' }
const MQTT_5 = 5

/** Reads one whole packet. `version` is that of its connection, which a CONNECT sets itself. */
export function readPacket(bytes: Buffer, version: number): Packet {
  const first = bytes[0] as number
  const reader = new Reader(bytes, 1, bytes.length)
  reader.varint()
  const packet = read(first, reader, version)
  return reader.fault === undefined ? packet : OTHER
}

function read(first: number, reader: Reader, version: number): Packet {
  switch (first >> 4) {
    case 1:
      return connect(reader)
    case 2:
      reader.byte()
      return { kind: 'connack', code: reader.byte() }
    case 3:
      return publish(first, reader, version)
    case 4:
      return { kind: 'puback', id: reader.uint16() }
    case 8:
      return subscribe(reader, version)
    case 9:
      return suback(reader, version)
    case 14:
      return { kind: 'disconnect' }
    default:
      return OTHER
  }
}

function connect(reader: Reader): Packet {
  reader.text()
  const version = reader.byte()
  const flags = reader.byte()
  const keepalive = reader.uint16()
  if (version === MQTT_5) readProperties(reader, IN.connect)
  const clientId = reader.text()
  if ((flags & 0x04) !== 0) {
    if (version === MQTT_5) readProperties(reader, IN.will)
    reader.text()
    reader.binary()
  }
  const user = (flags & 0x80) === 0 ? undefined : reader.text()
  // An empty password is none to the bridge too.
  const key = (flags & 0x40) === 0 ? undefined : reader.binary().toString('utf8') || undefined
  return { kind: 'connect', version, clientId, user, key, keepalive }
}

function publish(first: number, reader: Reader, version: number): Packet {
  const qos = (first >> 1) & 3
  const topic = reader.text()
  if (qos > 0) reader.uint16()
  const alias = version === MQTT_5 ? readProperties(reader, IN.publish).topicAlias : undefined
  const payload = reader.bytes.subarray(reader.at, reader.end)
  return { kind: 'publish', topic, alias, payload, qos, retain: (first & 1) !== 0 }
}

function subscribe(reader: Reader, version: number): Packet {
  const id = reader.uint16()
  if (version === MQTT_5) readProperties(reader, IN.subscribe)
  const filters: SubscribedFilter[] = []
  while (reader.left > 0) filters.push({ filter: reader.text(), qos: reader.byte() & 3 })
  return { kind: 'subscribe', id, filters }
}

/** The properties of an answer of the bridge are passed over by their length. */
function suback(reader: Reader, version: number): Packet {
  const id = reader.uint16()
  const passed = version === MQTT_5 ? reader.varint() : 0
  reader.at += passed
  const codes: number[] = []
  while (reader.left > 0) codes.push(reader.byte())
  return { kind: 'suback', id, codes }
}

/** A longer packet is none of a limb; the bridge ends such a connection too. */
const MAX_BYTES = 4 * 1024 * 1024

/** Cuts a stream of bytes into whole packets. */
export class PacketStream {
  #rest: Buffer = Buffer.alloc(0)

  /** Returns the packets that are whole now; undefined when the stream is no MQTT. */
  push(chunk: Buffer): readonly Buffer[] | undefined {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const packets: Buffer[] = []
    for (;;) {
      const end = endOf(this.#rest)
      if (end === undefined || end > MAX_BYTES) return undefined
      if (end === 0 || end > this.#rest.length) return packets
      packets.push(this.#rest.subarray(0, end))
      this.#rest = this.#rest.subarray(end)
    }
  }
}

/** Returns where the first packet ends, 0 while its header is not whole, undefined when it is none. */
function endOf(bytes: Buffer): number | undefined {
  let length = 0
  for (let i = 1; i <= 4; i++) {
    const byte = bytes[i]
    if (byte === undefined) return 0
    length += (byte & 0x7f) * 128 ** (i - 1)
    if (byte < 0x80) return i + 1 + length
  }
  return undefined
}
