/**
 * MQTT 3.1.1 packets as bytes, and those of MQTT 5 without properties, by hand: so that ten thousand clients are cheap, and so that a fault in the
 * library that the bridge uses cannot hide itself by being at both ends.
 */

export const PACKET = {
  connack: 2,
  publish: 3,
  puback: 4,
  suback: 9,
  unsuback: 11,
  pingresp: 13,
} as const

export interface ConnectOptions {
  readonly clientId: string
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** Seconds; an hour unless told, so that an idle client of a benchmark needs no ping. */
  readonly keepalive?: number | undefined
  readonly version?: Version | undefined
  /** Clean unless told: else the session is stored. */
  readonly clean?: boolean | undefined
}

/** Of MQTT, as CONNECT says it: 4 is 3.1.1. */
export type Version = 4 | 5

export function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  const length = Buffer.alloc(2)
  length.writeUInt16BE(bytes.length)
  return Buffer.concat([length, bytes])
}

function remainingLength(length: number): Buffer {
  const bytes: number[] = []
  let left = length
  do {
    const rest = left >>> 7
    bytes.push(rest > 0 ? (left & 0x7f) | 0x80 : left)
    left = rest
  } while (left > 0)
  return Buffer.from(bytes)
}

/** A packet by its first byte (type and flags) and the parts of its body. */
export function packet(first: number, ...parts: Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  return Buffer.concat([Buffer.from([first]), remainingLength(length), ...parts])
}

export function identifier(id: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(id)
  return bytes
}

/** No properties. */
const none = (version: Version): Buffer => Buffer.alloc(version === 5 ? 1 : 0)

/** CONNECT, without a will. */
export function connectPacket(options: ConnectOptions): Buffer {
  const { clientId, username, password, keepalive = 3600, version = 4, clean = true } = options
  const flags = (clean ? 0x02 : 0) | (username === undefined ? 0 : 0x80) | (password === undefined ? 0 : 0x40)
  const head = Buffer.concat([text('MQTT'), Buffer.from([version, flags]), identifier(keepalive)])
  const rest = [username, password].flatMap((value) => (value === undefined ? [] : [text(value)]))
  return packet(0x10, head, none(version), text(clientId), ...rest)
}

/** At QoS 1, or 0 for an identifier of 0. */
export function publishPacket(
  topic: string,
  payload: string | Uint8Array,
  id: number,
  { version = 4, retain = false }: { version?: Version; retain?: boolean } = {},
): Buffer {
  const named = id === 0 ? Buffer.alloc(0) : identifier(id)
  const first = 0x30 | (id === 0 ? 0 : 2) | (retain ? 1 : 0)
  return packet(first, text(topic), named, none(version), Buffer.from(payload))
}

export function subscribePacket(filter: string, qos: 0 | 1, id: number, version: Version = 4): Buffer {
  return packet(0x82, identifier(id), none(version), text(filter), Buffer.from([qos]))
}

export function unsubscribePacket(filter: string, id: number): Buffer {
  return packet(0xa2, identifier(id), text(filter))
}

export function pubackPacket(id: number): Buffer {
  return Buffer.from([0x40, 2, id >> 8, id & 0xff])
}

export const DISCONNECT: Buffer = Buffer.from([0xe0, 0])

/** `first` is the packet's first byte (type and flags); `body` is only valid during the call. */
export type OnPacket = (first: number, body: Buffer) => void

/** Cuts a stream of bytes into packets. */
export class PacketReader {
  #rest: Buffer | null = null
  readonly #onPacket: OnPacket

  constructor(onPacket: OnPacket) {
    this.#onPacket = onPacket
  }

  push(chunk: Buffer): void {
    const bytes = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    for (;;) {
      const end = this.#next(bytes, at)
      if (end === 0) break
      at = end
    }
    this.#rest = at === bytes.length ? null : bytes.subarray(at)
  }

  /** Hands out the packet that starts at `at` and returns where it ends; 0 when it is not whole yet. */
  #next(bytes: Buffer, at: number): number {
    let length = 0
    for (let i = 1; i <= 4; i++) {
      const byte = bytes[at + i]
      if (byte === undefined) return 0
      length |= (byte & 0x7f) << (7 * (i - 1))
      if (byte < 0x80) {
        const body = at + i + 1
        if (body + length > bytes.length) return 0
        this.#onPacket(bytes[at] ?? 0, bytes.subarray(body, body + length))
        return body + length
      }
    }
    throw new Error('a remaining length of more than four bytes')
  }
}
