import { isFilter } from '../protocol/filters.ts'
import { PUBACK, PUBCOMP, PUBREC } from './packet-ids.ts'
import { isText, isTopicName } from './strings.ts'

/**
 * Checks on the bytes what MQTT 3.1.1 demands of each packet that a client may send, because the parser behind
 * repairs what is broken (invalid UTF-8 becomes U+FFFD) or takes it as it is. Each check answers with a fixed text
 * for the log when the connection must be closed [MQTT-4.8.0-1].
 */

export const CONNECT = 1
export const PUBLISH = 3
export const DISCONNECT = 14
export const PUBREL = 6
export const SUBSCRIBE = 8
export const UNSUBSCRIBE = 10
const PINGREQ = 12

export type Fault = string | undefined

// Faults that are limits of ours.
export const TOO_LONG_TOPIC = 'topic too long'
export const TOO_LONG_FILTER = 'filter too long'
export const TOO_MANY_FILTERS = 'too many filters in one packet'

/** The filters of one SUBSCRIBE or UNSUBSCRIBE: a packet is worked on in one go, and a megabyte may hold 300,000. */
export const MAX_FILTERS = 2000

/**
 * A whole packet in `bytes` from `start` on: the variable header starts at `body`,
 * the packet ends at `end`. Clears the bits of a CONNECT that MQTT 3.1 leaves unused.
 */
export function checkFrame(
  bytes: Buffer,
  start: number,
  body: number,
  end: number,
  maxTopicBytes: number,
): Fault {
  const first = bytes[start] as number
  switch (first >> 4) {
    case CONNECT:
      return checkConnect(bytes, start, body, end)
    case PUBLISH:
      return checkPublish(first, bytes, body, end, maxTopicBytes)
    case PUBACK:
    case PUBREC:
    case PUBREL:
    case PUBCOMP:
      if ((first & 0x0f) !== (first >> 4 === PUBREL ? 2 : 0)) return 'reserved flags are set'
      return end - body === 2 && hasPacketId(bytes, body) ? undefined : 'malformed acknowledgement'
    case SUBSCRIBE:
    case UNSUBSCRIBE:
      return checkFilters(first, bytes, body, end, maxTopicBytes)
    case PINGREQ:
    case DISCONNECT:
      return (first & 0x0f) === 0 && end === body ? undefined : 'malformed PINGREQ or DISCONNECT'
    default:
      return 'a packet that only a server sends'
  }
}

function hasPacketId(bytes: Buffer, at: number): boolean {
  return bytes[at] !== 0 || bytes[at + 1] !== 0
}

function checkPublish(first: number, bytes: Buffer, body: number, end: number, maxTopicBytes: number): Fault {
  const qos = (first >> 1) & 3
  if (qos === 3) return 'PUBLISH with QoS 3'
  if (qos === 0 && (first & 8) !== 0) return 'PUBLISH with DUP at QoS 0'
  if (end - body < 2) return 'PUBLISH is too short'
  const topic = body + 2
  const afterTopic = topic + ((bytes[body] as number) << 8) + (bytes[body + 1] as number)
  const afterId = qos === 0 ? afterTopic : afterTopic + 2
  if (afterId > end) return 'PUBLISH is too short'
  if (afterTopic - topic > maxTopicBytes) return TOO_LONG_TOPIC
  if (!isTopicName(bytes, topic, afterTopic)) return 'invalid topic name'
  return qos === 0 || hasPacketId(bytes, afterTopic) ? undefined : 'packet identifier 0'
}

function checkFilters(first: number, bytes: Buffer, body: number, end: number, maxTopicBytes: number): Fault {
  if ((first & 0x0f) !== 2) return 'reserved flags are set'
  if (end - body < 5) return 'SUBSCRIBE or UNSUBSCRIBE without a filter'
  if (!hasPacketId(bytes, body)) return 'packet identifier 0'
  const optionBytes = first >> 4 === SUBSCRIBE ? 1 : 0
  let filters = 0
  for (let at = body + 2; at < end; ) {
    if (++filters > MAX_FILTERS) return TOO_MANY_FILTERS
    if (end - at < 2) return 'malformed filter'
    const start = at + 2
    at = start + bytes.readUInt16BE(at)
    if (at + optionBytes > end) return 'malformed filter'
    if (at - start > maxTopicBytes) return TOO_LONG_FILTER
    if (!isText(bytes, start, at) || !isFilter(bytes.toString('utf8', start, at))) return 'invalid filter'
    if (optionBytes === 1 && (bytes[at++] as number) > 2) return 'invalid QoS in SUBSCRIBE'
  }
  return undefined
}

/** A protocol level that is not ours: CONNACK says so, then the end [MQTT-3.1.2-2]. */
export const UNKNOWN_LEVEL = 'unacceptable protocol version'

/** The protocol level of a CONNECT whose name was checked. The top bit is Mosquitto's mark for a bridge. */
export function levelOf(bytes: Buffer, body: number): number {
  return (bytes[body + 2 + bytes.readUInt16BE(body)] as number) & 0x7f
}

/** Reads length-prefixed fields of CONNECT; once one does not fit, `failed` stays set. */
class Fields {
  failed = false
  at: number
  readonly #bytes: Buffer
  readonly #end: number

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes
    this.at = at
    this.#end = end
  }

  skip(): { start: number; end: number } {
    if (this.failed || this.#end - this.at < 2) {
      this.failed = true
      return { start: 0, end: 0 }
    }
    const start = this.at + 2
    const end = start + this.#bytes.readUInt16BE(this.at)
    if (end > this.#end) this.failed = true
    this.at = end
    return { start, end }
  }

  text(): string {
    const { start, end } = this.skip()
    if (this.failed || !isText(this.#bytes, start, end)) {
      this.failed = true
      return ''
    }
    return this.#bytes.toString('utf8', start, end)
  }
}

function checkConnect(bytes: Buffer, start: number, body: number, end: number): Fault {
  const fields = new Fields(bytes, body, end)
  const protocol = fields.text()
  if (fields.failed || end - fields.at < 4) return 'CONNECT is too short'
  if (protocol !== 'MQTT' && protocol !== 'MQIsdp') return 'unknown protocol name'
  const level = levelOf(bytes, body)
  if (protocol === 'MQIsdp' && level === 3) clearUnused(bytes, start, fields.at + 1)
  if (((bytes[start] as number) & 0x0f) !== 0) return 'reserved flags are set'
  if (level !== (protocol === 'MQTT' ? 4 : 3)) return UNKNOWN_LEVEL
  const flags = bytes[fields.at + 1] as number
  fields.at += 4
  return checkConnectFlags(flags) ?? checkConnectFields(flags, fields, end)
}

/** MQTT 3.1, section 3.1: what is reserved since 3.1.1 has no meaning there, and Aedes' parser refuses it. */
function clearUnused(bytes: Buffer, start: number, flagsAt: number): void {
  bytes[start] = CONNECT << 4
  bytes[flagsAt] = (bytes[flagsAt] as number) & 0xfe
}

const USERNAME = 0x80
const PASSWORD = 0x40
const WILL_BITS = 0x38
const WILL = 0x04

function checkConnectFlags(flags: number): Fault {
  if ((flags & 1) !== 0) return 'reserved CONNECT flag is set'
  if ((flags & WILL) === 0 && (flags & WILL_BITS) !== 0) return 'will flags without a will'
  if ((flags & 0x18) === 0x18) return 'will with QoS 3'
  return (flags & USERNAME) === 0 && (flags & PASSWORD) !== 0 ? 'password without user name' : undefined
}

function checkConnectFields(flags: number, fields: Fields, end: number): Fault {
  fields.text()
  if ((flags & WILL) !== 0) {
    fields.text()
    fields.skip()
  }
  if ((flags & USERNAME) !== 0) fields.text()
  if ((flags & PASSWORD) !== 0) fields.skip()
  if (fields.failed) return 'malformed CONNECT'
  return fields.at === end ? undefined : 'bytes after the end of CONNECT'
}

/** The filters of an UNSUBSCRIBE of MQTT 3.1 and 3.1.1 that passed its checks. */
export function* filtersOf(bytes: Buffer, body: number, end: number): Iterable<string> {
  for (let at = body + 2; at < end; ) {
    const start = at + 2
    at = start + bytes.readUInt16BE(at)
    yield bytes.toString('utf8', start, at)
  }
}
