import { PropertyWriter } from '../../../src/broker/mqtt5/properties.ts'
import type { Running } from '../fixture.ts'
import { CONNACK, dial, id, type Packet, PUBLISH, packet, text, UNSUBACK, type WireClient } from '../wire.ts'

/** MQTT 5 by hand, on the client of wire.ts. */

const NONE = Buffer.from([0])

export const props = () => new PropertyWriter()

export interface Connect5Options {
  readonly clientId?: string
  readonly username?: string
  readonly password?: string
  readonly cleanStart?: boolean
  readonly keepalive?: number
  readonly properties?: Buffer
  readonly will?: {
    readonly topic: string
    readonly payload: string
    readonly qos?: number
    readonly retain?: boolean
    readonly properties?: Buffer
  }
}

let unique = 0

export function connect5(options: Connect5Options = {}): Buffer {
  const { username, password, will, cleanStart = true, keepalive = 60, properties = NONE } = options
  const flags =
    (cleanStart ? 2 : 0) |
    (username === undefined ? 0 : 0x80) |
    (password === undefined ? 0 : 0x40) |
    (will === undefined ? 0 : 4 | ((will.qos ?? 0) << 3) | (will.retain ? 0x20 : 0))
  const parts = [text('MQTT'), Buffer.from([5, flags]), id(keepalive), properties]
  parts.push(text(options.clientId ?? `five-${process.pid}-${++unique}`))
  if (will) parts.push(will.properties ?? NONE, text(will.topic), text(will.payload))
  if (username !== undefined) parts.push(text(username))
  if (password !== undefined) parts.push(text(password))
  return packet(0x10, ...parts)
}

export interface Publish5Options {
  readonly qos?: 0 | 1 | 2
  readonly retain?: boolean
  readonly dup?: boolean
  readonly id?: number
  readonly properties?: Buffer
}

export function publish5(topic: string, payload = '', options: Publish5Options = {}): Buffer {
  const { qos = 0, retain = false, dup = false, properties = NONE } = options
  const first = 0x30 | (qos << 1) | (retain ? 1 : 0) | (dup ? 8 : 0)
  const identifier = qos > 0 ? id(options.id ?? 1) : Buffer.alloc(0)
  return packet(first, text(topic), identifier, properties, Buffer.from(payload))
}

/** Filters with their subscription options. */
export function subscribe5(
  filters: readonly (readonly [string, number])[],
  packetId = 1,
  properties: Buffer = NONE,
): Buffer {
  const parts = filters.flatMap(([filter, options]) => [text(filter), Buffer.from([options])])
  return packet(0x82, id(packetId), properties, ...parts)
}

export function unsubscribe5(filters: readonly string[], packetId = 1): Buffer {
  return packet(0xa2, id(packetId), NONE, ...filters.map(text))
}

export function ack5(first: number, packetId: number, code?: number): Buffer {
  return packet(first, id(packetId), code === undefined ? Buffer.alloc(0) : Buffer.from([code]))
}

export function disconnect5(code = 0, properties?: Buffer): Buffer {
  return packet(0xe0, Buffer.from([code]), properties ?? Buffer.alloc(0))
}

/** Reads properties as the client sees them, whatever packet they stand in. */
export function propertiesOf(bytes: Buffer, at: number): { values: Record<string, unknown>; end: number } {
  const [length, start] = varint(bytes, at)
  const end = start + length
  const values: Record<string, unknown> = {}
  const add = (name: string, value: unknown) => {
    const before = values[name] as unknown[] | undefined
    values[name] = before === undefined ? [value] : [...before, value]
  }
  for (let place = start; place < end; ) {
    const identifier = bytes[place++] as number
    const hex = identifier.toString(16)
    if ([0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2a].includes(identifier)) add(hex, bytes[place++])
    else if ([0x13, 0x21, 0x22, 0x23].includes(identifier)) {
      add(hex, bytes.readUInt16BE(place))
      place += 2
    } else if ([0x02, 0x11, 0x18, 0x27].includes(identifier)) {
      add(hex, bytes.readUInt32BE(place))
      place += 4
    } else if (identifier === 0x0b) {
      const [value, next] = varint(bytes, place)
      add(hex, value)
      place = next
    } else {
      const one = bytes.readUInt16BE(place)
      const first = bytes.toString('utf8', place + 2, place + 2 + one)
      place += 2 + one
      if (identifier !== 0x26) add(hex, first)
      else {
        const two = bytes.readUInt16BE(place)
        add(hex, `${first}=${bytes.toString('utf8', place + 2, place + 2 + two)}`)
        place += 2 + two
      }
    }
  }
  return { values, end }
}

function varint(bytes: Buffer, at: number): [number, number] {
  let value = 0
  for (let place = 0; ; place++) {
    const byte = bytes[at + place] as number
    value += (byte & 0x7f) * 128 ** place
    if (byte < 0x80) return [value, at + place + 1]
  }
}

export interface Message5 {
  readonly topic: string
  readonly text: string
  readonly qos: number
  readonly retain: boolean
  readonly dup: boolean
  readonly id: number
  readonly properties: Record<string, unknown>
}

export function message5({ flags, body }: Packet): Message5 {
  const end = 2 + body.readUInt16BE(0)
  const qos = (flags >> 1) & 3
  const { values, end: payloadAt } = propertiesOf(body, qos > 0 ? end + 2 : end)
  return {
    topic: body.toString('utf8', 2, end),
    text: body.toString('utf8', payloadAt),
    qos,
    retain: (flags & 1) === 1,
    dup: (flags & 8) !== 0,
    id: qos > 0 ? body.readUInt16BE(end) : 0,
    properties: values,
  }
}

/** What CONNACK, an acknowledgement or DISCONNECT says. */
export interface Answer5 {
  readonly code: number
  readonly properties: Record<string, unknown>
}

export function connack5({ body }: Packet): Answer5 & { present: boolean } {
  return { present: body[0] === 1, code: body[1] as number, properties: propertiesOf(body, 2).values }
}

export function answer5({ body }: Packet): Answer5 & { id: number } {
  const code = body.length > 2 ? (body[2] as number) : 0
  return { id: body.readUInt16BE(0), code, properties: body.length > 3 ? propertiesOf(body, 3).values : {} }
}

/** SUBACK and UNSUBACK. */
export function codes5({ body }: Packet): { codes: number[]; properties: Record<string, unknown> } {
  const { values, end } = propertiesOf(body, 2)
  return { codes: [...body.subarray(end)], properties: values }
}

export function farewell5({ body }: Packet): Answer5 {
  return { code: body[0] ?? 0, properties: body.length > 1 ? propertiesOf(body, 1).values : {} }
}

/** Connects by hand; the test looks at CONNACK. */
export async function open5(
  bridge: Running,
  options: Connect5Options = {},
): Promise<{ client: WireClient; connack: ReturnType<typeof connack5> }> {
  const client = await dial({ port: bridge.port })
  client.send(connect5(options))
  return { client, connack: connack5(await client.of(CONNACK)) }
}

/** Connects and expects to be let in. */
export async function joined5(bridge: Running, options: Connect5Options = {}): Promise<WireClient> {
  const { client, connack } = await open5(bridge, options)
  if (connack.code !== 0) throw new Error(`CONNACK ${connack.code}: ${JSON.stringify(connack.properties)}`)
  return client
}

export async function nextMessage(client: WireClient): Promise<Message5> {
  return message5(await client.of(PUBLISH))
}

export async function subscribed(
  client: WireClient,
  filters: readonly (readonly [string, number])[],
  properties?: Buffer,
): Promise<number[]> {
  client.send(subscribe5(filters, 9, properties))
  return codes5(await client.of(9)).codes
}

export async function unsubscribed(client: WireClient, filters: readonly string[]): Promise<number[]> {
  client.send(unsubscribe5(filters, 8))
  return codes5(await client.of(UNSUBACK)).codes
}
