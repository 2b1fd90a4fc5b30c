import { once } from 'node:events'
import { connect as connectSocket, type Socket } from 'node:net'
import { patience } from '../support/patience.ts'
import { connackCode, FOR_EVER, spoken, subackCode } from '../support/spoken.ts'

/**
 * MQTT 3.1.1 by hand: any bytes in any order, and what comes back packet by packet. Where the file speaks MQTT 5, the same
 * packets have properties: none, but a session that shall last says so.
 */

export function text(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as string)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes])
}

export function packet(first: number, ...parts: Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  const header = [first]
  let left = length
  do {
    const rest = left >>> 7
    header.push(rest > 0 ? (left & 0x7f) | 0x80 : left)
    left = rest
  } while (left > 0)
  return Buffer.concat([Buffer.from(header), ...parts])
}

export function id(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff])
}

export interface Connect {
  clientId?: string
  username?: string | undefined
  password?: string | undefined
  clean?: boolean
  keepalive?: number
  protocol?: string
  level?: number
  will?: { topic: string; payload: string; qos?: number; retain?: boolean }
}

let unique = 0

/** No properties, where packets have them. */
const none = (version: number = spoken.version): Buffer => Buffer.alloc(version === 5 ? 1 : 0)

/** Session expiry, which MQTT 3.1.1 says by the absence of a clean session. */
function connectProperties(version: number, clean: boolean): Buffer {
  if (version !== 5 || clean) return none(version)
  const property = Buffer.from([5, 0x11, 0, 0, 0, 0])
  property.writeUInt32BE(FOR_EVER, 2)
  return property
}

export function connectPacket(options: Connect = {}): Buffer {
  const { username, password, will, clean = true, keepalive = 60, level = spoken.version } = options
  const flags =
    (clean ? 2 : 0) |
    (username === undefined ? 0 : 0x80) |
    (password === undefined ? 0 : 0x40) |
    (will === undefined ? 0 : 4 | ((will.qos ?? 0) << 3) | (will.retain ? 0x20 : 0))
  const parts = [
    text(options.protocol ?? 'MQTT'),
    Buffer.from([level, flags]),
    id(keepalive),
    options.level === undefined ? connectProperties(level, clean) : Buffer.alloc(0),
    text(options.clientId ?? `wire-${process.pid}-${++unique}`),
  ]
  if (will) parts.push(none(options.level === undefined ? level : 4), text(will.topic), text(will.payload))
  if (username !== undefined) parts.push(text(username))
  if (password !== undefined) parts.push(text(password))
  return packet(0x10, ...parts)
}

export interface Publish {
  qos?: 0 | 1 | 2
  retain?: boolean
  dup?: boolean
  id?: number
}

export function publishPacket(
  topic: string | Uint8Array,
  payload: string | Uint8Array = '',
  options: Publish = {},
): Buffer {
  const { qos = 0, retain = false, dup = false } = options
  const first = 0x30 | (qos << 1) | (retain ? 1 : 0) | (dup ? 8 : 0)
  return packet(
    first,
    text(topic),
    qos > 0 ? id(options.id ?? 1) : Buffer.alloc(0),
    none(),
    Buffer.from(payload as string),
  )
}

export function subscribePacket(filters: Record<string, number>, packetId = 1): Buffer {
  const parts = Object.entries(filters).flatMap(([filter, qos]) => [text(filter), Buffer.from([qos])])
  return packet(0x82, id(packetId), none(), ...parts)
}

export function unsubscribePacket(filters: string[], packetId = 1): Buffer {
  return packet(0xa2, id(packetId), none(), ...filters.map(text))
}

export const PINGREQ = Buffer.from([0xc0, 0])
export const DISCONNECT = Buffer.from([0xe0, 0])

export interface Packet {
  readonly type: number
  readonly flags: number
  readonly body: Buffer
}

export interface Message {
  readonly topic: string
  readonly text: string
  readonly qos: number
  readonly retain: boolean
  readonly dup: boolean
  readonly id: number
}

export const CONNACK = 2
export const PUBLISH = 3
export const PUBACK = 4
export const PUBREC = 5
export const PUBREL = 6
export const PUBCOMP = 7
export const SUBACK = 9
export const UNSUBACK = 11
export const PINGRESP = 13

/** Where properties end that begin here; the same place in 3.1.1, which has none. */
function pastProperties(body: Buffer, at: number): number {
  if (spoken.version !== 5) return at
  const byte = body[at] ?? 0
  // None that a test gets here has more bytes than two bytes say.
  return byte < 0x80 ? at + 1 + byte : at + 2 + (byte & 0x7f) + 0x80 * (body[at + 1] ?? 0)
}

export function messageOf({ flags, body }: Packet): Message {
  const end = 2 + body.readUInt16BE(0)
  const qos = (flags >> 1) & 3
  const payloadAt = pastProperties(body, qos > 0 ? end + 2 : end)
  return {
    topic: body.toString('utf8', 2, end),
    text: body.toString('utf8', payloadAt),
    qos,
    retain: (flags & 1) === 1,
    dup: (flags & 8) !== 0,
    id: qos > 0 ? body.readUInt16BE(end) : 0,
  }
}

/** What SUBACK grants to each filter; 128 where it refuses. */
export function grantedIn({ body }: Packet): number[] {
  return [...body.subarray(pastProperties(body, 2))].map(subackCode)
}

/** The whole packets that bytes begin with. */
export function packetsIn(bytes: Buffer): Packet[] {
  const packets: Packet[] = []
  for (let rest = bytes; ; ) {
    const end = endOfFirst(rest)
    if (end === undefined) return packets
    const first = rest[0] as number
    packets.push({ type: first >> 4, flags: first & 15, body: rest.subarray(end.body, end.end) })
    rest = rest.subarray(end.end)
  }
}

/** Where the body of the first packet begins and ends, if it is whole. */
function endOfFirst(bytes: Buffer): { body: number; end: number } | undefined {
  let length = 0
  for (let at = 1; at < 5; at++) {
    const byte = bytes[at]
    if (byte === undefined) return undefined
    length += (byte & 0x7f) * 128 ** (at - 1)
    if (byte < 0x80)
      return at + 1 + length <= bytes.length ? { body: at + 1, end: at + 1 + length } : undefined
  }
  return undefined
}

/** A client that does only what it is told; it acknowledges nothing by itself. */
export class WireClient {
  readonly socket: Socket
  readonly packets: Packet[] = []
  readonly closed: Promise<void>
  #rest: Buffer = Buffer.alloc(0)
  #waiting: (() => void)[] = []
  #isClosed = false

  constructor(socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#isClosed = true
        resolve()
        this.#wake()
      })
    })
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  send(...packets: Uint8Array[]): void {
    this.socket.write(Buffer.concat(packets))
  }

  /** Takes the next packet that fits, or fails when the connection is closed or the time is up. */
  async next(fits: (packet: Packet) => boolean, timeoutMs = patience(10_000)): Promise<Packet> {
    const deadline = setTimeout(() => this.#wake(), timeoutMs)
    const started = performance.now()
    try {
      for (;;) {
        const index = this.packets.findIndex(fits)
        const found = this.packets[index]
        if (found) {
          this.packets.splice(index, 1)
          return found
        }
        if (this.#isClosed) throw new Error('the connection was closed')
        if (performance.now() - started >= timeoutMs) throw new Error('no such packet in time')
        await new Promise<void>((resolve) => this.#waiting.push(resolve))
      }
    } finally {
      clearTimeout(deadline)
    }
  }

  /** Resolves when the next packet is here, or the connection is closed, which is an error. */
  async arrival(): Promise<void> {
    const { length } = this.packets
    if (this.#isClosed) throw new Error('the connection was closed')
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
    if (this.packets.length === length) throw new Error('the connection was closed')
  }

  of(type: number): Promise<Packet> {
    return this.next((packet) => packet.type === type)
  }

  /** The acknowledgement of a packet identifier. */
  ack(type: number, packetId: number): Promise<Packet> {
    return this.next((packet) => packet.type === type && packet.body.readUInt16BE(0) === packetId)
  }

  async message(topic?: string): Promise<Message> {
    return messageOf(
      await this.next(
        (packet) => packet.type === PUBLISH && (topic === undefined || messageOf(packet).topic === topic),
      ),
    )
  }

  /** Messages that came and were not taken. */
  get messages(): Message[] {
    return this.packets.filter((packet) => packet.type === PUBLISH).map(messageOf)
  }

  /** Everything sent so far was read by the broker, and its answers are here. */
  async settle(): Promise<void> {
    this.send(PINGREQ)
    await this.of(PINGRESP)
  }

  /** The return code of CONNACK, and whether a session was present. */
  async connack(): Promise<{ code: number; present: boolean }> {
    const { body } = await this.of(CONNACK)
    return { code: connackCode(body[1] ?? 255), present: body[0] === 1 }
  }

  async subscribe(filters: Record<string, number>, packetId = 9): Promise<number[]> {
    this.send(subscribePacket(filters, packetId))
    return grantedIn(await this.ack(SUBACK, packetId))
  }

  cut(): void {
    if (this.socket.remoteFamily === undefined) this.socket.destroy()
    else this.socket.resetAndDestroy()
  }

  #take(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk])
    for (;;) {
      const end = endOfFirst(this.#rest)
      if (end === undefined) return
      const first = this.#rest[0] as number
      this.packets.push({ type: first >> 4, flags: first & 15, body: this.#rest.subarray(end.body, end.end) })
      this.#rest = this.#rest.subarray(end.end)
      this.#wake()
    }
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }
}

export async function dial(where: { port: number } | { path: string }): Promise<WireClient> {
  const socket = connectSocket('port' in where ? { host: '127.0.0.1', ...where } : where)
  const client = new WireClient(socket)
  await once(socket, 'connect').catch(() => client.closed)
  return client
}
