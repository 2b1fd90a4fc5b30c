import type { QueuedMessage, StoredMessage } from '../../bridge/mqtt-store.ts'

/** A PUBLISH as Aedes hands it in and takes it back. */
export interface PublishPacket {
  readonly cmd?: 'publish'
  readonly topic: string
  readonly payload: Buffer | Uint8Array | string
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly dup?: boolean
  readonly brokerId?: string | null | undefined
  readonly brokerCounter?: number | undefined
  readonly messageId?: number | undefined
}

/** A retained message, with all that a packet has on its way to a subscriber. */
export interface RetainedPacket extends PublishPacket {
  readonly cmd: 'publish'
  readonly payload: Buffer
  readonly dup: boolean
  readonly brokerId: null
  readonly brokerCounter: number
}

/** The packet that takes the place of a PUBLISH of QoS 2 after PUBREC. */
export interface PubrelPacket {
  readonly cmd: 'pubrel'
  readonly messageId?: number | undefined
}

/** The fields that have a column of their own, or belong to one connection only. */
const NOT_EXTRA = new Set([
  'cmd',
  'topic',
  'payload',
  'qos',
  'retain',
  'dup',
  'brokerId',
  'brokerCounter',
  'messageId',
  'clientId',
  'length',
  'nl',
  'consumed',
])

/** Marks, in the JSON of extras, a payload that came as text and bytes inside of MQTT 5 properties. */
const TEXT = '$text'
const BYTES = '$bytes'

/** Everything of a packet that has no column, so that what a newer Aedes adds comes back as it was. */
function extraOf(packet: PublishPacket): string | null {
  const rest: Record<string, unknown> = {}
  let some = false
  for (const [name, value] of Object.entries(packet)) {
    if (NOT_EXTRA.has(name) || value === undefined) continue
    rest[name] = withBytes(value)
    some = true
  }
  if (typeof packet.payload === 'string') {
    rest[TEXT] = true
    some = true
  }
  return some ? JSON.stringify(rest) : null
}

function withBytes(value: unknown): unknown {
  if (value instanceof Uint8Array) return { [BYTES]: Buffer.from(value).toString('base64') }
  if (Array.isArray(value)) return value.map(withBytes)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, withBytes(each)]))
}

function revive(_: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object' || !(BYTES in value)) return value
  return Buffer.from(String(value[BYTES]), 'base64')
}

/** The columns of a packet; the bytes are those of its payload. */
export function columnsOf(packet: PublishPacket): Omit<StoredMessage, 'retain'> {
  const { topic, payload, qos } = packet
  return {
    topic,
    payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
    qos,
    extra: extraOf(packet),
  }
}

function contentOf({ payload, extra }: StoredMessage): { payload: Buffer | string } & object {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  if (extra === null) return { payload: bytes }
  const { [TEXT]: text, ...rest } = JSON.parse(extra, revive) as Record<string, unknown>
  return { ...rest, payload: text === true ? bytes.toString() : bytes }
}

export function retainedPacket(message: StoredMessage): RetainedPacket {
  const { payload, ...extras } = contentOf(message)
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
  return { ...ownRetained(message.topic, bytes, message.qos), ...extras }
}

/** A retained message without extras. */
export function ownRetained(topic: string, payload: Buffer, qos: 0 | 1 | 2): RetainedPacket {
  return { cmd: 'publish', brokerId: null, brokerCounter: 0, topic, payload, qos, retain: true, dup: false }
}

export function incomingPacket(message: StoredMessage, messageId: number): PublishPacket {
  const { topic, qos, retain } = message
  return { cmd: 'publish', topic, qos, retain, dup: false, messageId, ...contentOf(message) }
}

export function queuedPacket(message: QueuedMessage): PublishPacket | PubrelPacket {
  const messageId = message.messageId ?? undefined
  if (message.stage === 'pubrel') return { cmd: 'pubrel', messageId }
  const { topic, qos, retain, brokerId, brokerCounter } = message
  return {
    cmd: 'publish',
    brokerId,
    brokerCounter,
    topic,
    qos,
    retain,
    dup: false,
    messageId,
    ...contentOf(message),
  }
}
