import { Reader } from './reader.ts'
import { type Fault5, malformed, protocolError, REASON } from './reasons.ts'

/**
 * The properties of MQTT 5 (section 2.2.2.2), read strictly: an identifier that does not exist, a value that is cut
 * short, one that may not stand in this packet, and one that stands twice are faults, each with its code.
 */

/** Packets that have properties, as bits. */
export const IN = {
  connect: 1,
  will: 2,
  publish: 4,
  acknowledgement: 8,
  subscribe: 16,
  unsubscribe: 32,
  disconnect: 64,
  auth: 128,
} as const

/** The fields of a packet beyond the fixed ones. User properties are counted, and kept as bytes only. */
export interface Properties {
  payloadFormat?: number
  messageExpiry?: number
  contentType?: string
  responseTopic?: string
  correlationData?: Buffer
  subscriptionIdentifier?: number
  sessionExpiry?: number
  serverReference?: string
  reasonString?: string
  authenticationMethod?: string
  authenticationData?: Buffer
  requestProblemInformation?: number
  requestResponseInformation?: number
  willDelay?: number
  receiveMaximum?: number
  topicAliasMaximum?: number
  topicAlias?: number
  maximumPacketSize?: number
  userProperties: number
  /** The bytes of all of them, with their identifiers. */
  bytes: number
  /**
   * The properties that go on to subscribers as they came, in their order [MQTT-3.3.2-18]: all that may stand in a
   * message but its expiry, which counts down, and its alias, which belongs to one connection. Empty beyond the
   * bounds: then the message is refused.
   */
  forwarded: Buffer
}

/** The bounds of what one message or will may have. */
const MAX_USER_PROPERTIES = 100
const MAX_PROPERTY_BYTES = 16 * 1024

/** Says what to do about more properties than are kept, with the code of it. */
export const TOO_MANY_PROPERTIES: Fault5 = {
  code: REASON.quotaExceeded,
  text: `a message may have ${MAX_USER_PROPERTIES} user properties and ${MAX_PROPERTY_BYTES} bytes of properties`,
}

/** Returns whether these are more than are kept. */
export function tooMany({ userProperties, bytes }: Pick<Properties, 'userProperties' | 'bytes'>): boolean {
  return userProperties > MAX_USER_PROPERTIES || bytes > MAX_PROPERTY_BYTES
}

type Name = Exclude<keyof Properties, 'userProperties' | 'bytes' | 'forwarded'>
type Form = 'byte' | 'uint16' | 'uint32' | 'varint' | 'text' | 'binary'

interface Property {
  readonly name: Name
  readonly form: Form
  readonly packets: number
  readonly forwarded?: boolean
  /** The range of a number, where not all values have a meaning. */
  readonly min?: number
  readonly max?: number
}

const MESSAGE = IN.publish | IN.will
const USER_PROPERTY = 0x26
/** The properties by identifier. One without packets is sent by a server only. */
const BY_IDENTIFIER: ReadonlyMap<number, Property | { readonly form: Form }> = new Map<
  number,
  Property | { readonly form: Form }
>([
  [0x01, { name: 'payloadFormat', form: 'byte', packets: MESSAGE, forwarded: true, max: 1 }],
  [0x02, { name: 'messageExpiry', form: 'uint32', packets: MESSAGE }],
  [0x03, { name: 'contentType', form: 'text', packets: MESSAGE, forwarded: true }],
  [0x08, { name: 'responseTopic', form: 'text', packets: MESSAGE, forwarded: true }],
  [0x09, { name: 'correlationData', form: 'binary', packets: MESSAGE, forwarded: true }],
  [0x0b, { name: 'subscriptionIdentifier', form: 'varint', packets: IN.subscribe, min: 1 }],
  [0x11, { name: 'sessionExpiry', form: 'uint32', packets: IN.connect | IN.disconnect }],
  [0x12, { form: 'text' }],
  [0x13, { form: 'uint16' }],
  [0x15, { name: 'authenticationMethod', form: 'text', packets: IN.connect | IN.auth }],
  [0x16, { name: 'authenticationData', form: 'binary', packets: IN.connect | IN.auth }],
  [0x17, { name: 'requestProblemInformation', form: 'byte', packets: IN.connect, max: 1 }],
  [0x18, { name: 'willDelay', form: 'uint32', packets: IN.will }],
  [0x19, { name: 'requestResponseInformation', form: 'byte', packets: IN.connect, max: 1 }],
  [0x1a, { form: 'text' }],
  [0x1c, { name: 'serverReference', form: 'text', packets: IN.disconnect }],
  [0x1f, { name: 'reasonString', form: 'text', packets: IN.acknowledgement | IN.disconnect | IN.auth }],
  [0x21, { name: 'receiveMaximum', form: 'uint16', packets: IN.connect, min: 1 }],
  [0x22, { name: 'topicAliasMaximum', form: 'uint16', packets: IN.connect }],
  [0x23, { name: 'topicAlias', form: 'uint16', packets: IN.publish }],
  [0x24, { form: 'byte' }],
  [0x25, { form: 'byte' }],
  [0x27, { name: 'maximumPacketSize', form: 'uint32', packets: IN.connect, min: 1 }],
  [0x28, { form: 'byte' }],
  [0x29, { form: 'byte' }],
  [0x2a, { form: 'byte' }],
])

/** The properties are longer than what is left of the packet. */
export const CUT_SHORT = malformed('the properties are cut short')

const NOTHING = Buffer.alloc(0)
/** Shared by all packets without properties; nobody changes it. */
const NONE: Readonly<Properties> = Object.freeze({ userProperties: 0, bytes: 0, forwarded: NOTHING })

/** Reads the length of the properties and all of them. What is wrong is `reader.fault` afterwards. */
export function readProperties(reader: Reader, packet: number): Readonly<Properties> {
  if (reader.left > 0 && reader.bytes[reader.at] === 0) {
    reader.at++
    return NONE
  }
  const length = reader.varint()
  if (length > reader.left) reader.fail(CUT_SHORT)
  if (reader.fault !== undefined) return NONE
  const inner = new Reader(reader.bytes, reader.at, reader.at + length)
  const properties = readAll(inner, packet)
  if (inner.fault !== undefined) reader.fail(inner.fault)
  reader.at += length
  return properties
}

function readAll(reader: Reader, packet: number): Properties {
  const properties: Properties = { userProperties: 0, bytes: reader.left, forwarded: NOTHING }
  const kept = new Kept(reader.bytes)
  while (reader.left > 0) {
    const from = reader.at
    if (readOne(reader, packet, properties) && !tooMany(properties)) kept.add(from, reader.at)
  }
  if (reader.fault === undefined && !tooMany(properties)) properties.forwarded = kept.joined()
  return properties
}

/** Reads one property, and returns whether it goes on to subscribers. */
function readOne(reader: Reader, packet: number, properties: Properties): boolean {
  const identifier = reader.varint()
  if (identifier === USER_PROPERTY) {
    reader.skipText()
    reader.skipText()
    properties.userProperties++
    return (packet & MESSAGE) !== 0
  }
  const property = BY_IDENTIFIER.get(identifier)
  if (property === undefined) {
    reader.fail(malformed('an unknown property'))
    return false
  }
  const value = reader[property.form]()
  const fault = 'name' in property ? faultOf(property, packet, properties, value) : NOT_HERE
  if (fault !== undefined) {
    reader.fail(fault)
    return false
  }
  const { name, forwarded } = property as Property
  Object.assign(properties, { [name]: value })
  return forwarded === true
}

const NOT_HERE = protocolError('a property that this packet may not have')
const TWICE = protocolError('a property stands twice')
const OUT_OF_RANGE = protocolError('the value of a property is not allowed')
const ALIAS_ZERO: Fault5 = { code: REASON.invalidTopicAlias, text: 'topic alias 0' }

function faultOf(
  { name, packets, min = 0, max = Number.POSITIVE_INFINITY }: Property,
  packet: number,
  properties: Properties,
  value: unknown,
): Fault5 | undefined {
  if ((packets & packet) === 0) return NOT_HERE
  if (properties[name] !== undefined) return TWICE
  if (name === 'topicAlias' && value === 0) return ALIAS_ZERO
  return typeof value === 'number' && (value < min || value > max) ? OUT_OF_RANGE : undefined
}

/** The properties that go on, in one piece where they stand next to each other, which is the rule. */
class Kept {
  readonly #bytes: Buffer
  readonly #pieces: Buffer[] = []
  #from = 0
  #to = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  add(from: number, to: number): void {
    if (from !== this.#to) this.#cut(from)
    this.#to = to
  }

  joined(): Buffer {
    this.#cut(0)
    const [first = NOTHING] = this.#pieces
    return this.#pieces.length > 1 ? Buffer.concat(this.#pieces) : first
  }

  #cut(from: number): void {
    if (this.#to > this.#from) this.#pieces.push(this.#bytes.subarray(this.#from, this.#to))
    this.#from = from
  }
}

/** Writes properties of packets that the bridge sends. Texts are ours, and short. */
export class PropertyWriter {
  readonly #parts: Buffer[] = []
  #length = 0

  byte(identifier: number, value: number): this {
    return this.raw(Buffer.from([identifier, value]))
  }

  uint16(identifier: number, value: number): this {
    const bytes = Buffer.from([identifier, 0, 0])
    bytes.writeUInt16BE(value, 1)
    return this.raw(bytes)
  }

  uint32(identifier: number, value: number): this {
    const bytes = Buffer.from([identifier, 0, 0, 0, 0])
    bytes.writeUInt32BE(value, 1)
    return this.raw(bytes)
  }

  varint(identifier: number, value: number): this {
    return this.raw(Buffer.from([identifier, ...varintBytes(value)]))
  }

  text(identifier: number, value: string): this {
    return this.binary(identifier, Buffer.from(value))
  }

  binary(identifier: number, value: Uint8Array): this {
    const head = Buffer.from([identifier, 0, 0])
    head.writeUInt16BE(value.length, 1)
    this.raw(head)
    return this.raw(value)
  }

  raw(bytes: Uint8Array): this {
    this.#parts.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
    this.#length += bytes.length
    return this
  }

  /** The properties with their length in front. */
  bytes(): Buffer {
    return Buffer.concat([Buffer.from(varintBytes(this.#length)), ...this.#parts])
  }

  /** The properties without their length. */
  content(): Buffer {
    return Buffer.concat(this.#parts)
  }
}

/** A variable byte integer; at most 268,435,455. */
export function varintBytes(value: number): number[] {
  const bytes: number[] = []
  for (let left = value; ; ) {
    const rest = left >>> 7
    bytes.push(rest > 0 ? (left & 0x7f) | 0x80 : left)
    if (rest === 0) return bytes
    left = rest
  }
}
