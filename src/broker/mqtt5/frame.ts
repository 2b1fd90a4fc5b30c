import { isFilter } from '../../protocol/filters.ts'
import { MAX_FILTERS, TOO_LONG_FILTER, TOO_LONG_TOPIC, TOO_MANY_FILTERS } from '../frame-checks.ts'
import { isResponseTopic, isTopicName } from '../strings.ts'
import { IN, type Properties, readProperties } from './properties.ts'
import { Reader } from './reader.ts'
import { type Fault5, malformed, protocolError, REASON } from './reasons.ts'

/** Reads each packet of MQTT 5 that a client may send after CONNECT, strictly. */

export interface Publish5 {
  /** Empty: the topic is the one of the alias. */
  readonly topic: string
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly dup: boolean
  /** The packet identifier; 0 at QoS 0. */
  readonly id: number
  readonly properties: Readonly<Properties>
  readonly payload: Buffer
}

export function readPublish(
  first: number,
  bytes: Buffer,
  body: number,
  end: number,
  maxTopicBytes: number,
): Publish5 | Fault5 {
  const qos = (first >> 1) & 3
  if (qos === 3) return malformed('PUBLISH with QoS 3')
  if (qos === 0 && (first & 8) !== 0) return malformed('PUBLISH with DUP at QoS 0')
  const reader = new Reader(bytes, body, end)
  const topic = topicOf(reader, maxTopicBytes)
  const id = qos === 0 ? 0 : packetIdOf(reader)
  const properties = readProperties(reader, IN.publish)
  if (reader.fault !== undefined) return reader.fault
  if (topic === '' && properties.topicAlias === undefined) {
    return protocolError('PUBLISH with neither topic nor alias')
  }
  const { responseTopic } = properties
  if (responseTopic !== undefined && !isResponseTopic(responseTopic)) {
    return protocolError('the response topic is none')
  }
  return {
    topic,
    qos: qos as 0 | 1 | 2,
    retain: (first & 1) !== 0,
    dup: (first & 8) !== 0,
    id,
    properties,
    payload: bytes.subarray(reader.at, end),
  }
}

function topicOf(reader: Reader, maxTopicBytes: number): string {
  const topic = reader.binary()
  if (topic.length > maxTopicBytes) {
    reader.fail({ code: REASON.invalidTopicName, text: TOO_LONG_TOPIC })
  } else if (topic.length > 0 && !isTopicName(topic, 0, topic.length)) {
    reader.fail(malformed('invalid topic name'))
  }
  return reader.fault === undefined ? topic.toString('utf8') : ''
}

function packetIdOf(reader: Reader): number {
  const id = reader.uint16()
  if (id === 0) reader.fail(malformed('packet identifier 0'))
  return id
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP. */
export interface Acknowledgement5 {
  readonly id: number
  readonly code: number
}

const PUBREL = 6
const PUBREC = 5
/** The codes that a client may answer with (section 2.4): to PUBLISH, and in the second half of QoS 2. */
const PUBLISH_CODES = new Set([0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
const RELEASE_CODES = new Set([0x00, 0x92])

export function readAcknowledgement(
  first: number,
  bytes: Buffer,
  body: number,
  end: number,
): Acknowledgement5 | Fault5 {
  const type = first >> 4
  if ((first & 0x0f) !== (type === PUBREL ? 2 : 0)) return malformed('reserved flags are set')
  const reader = new Reader(bytes, body, end)
  const id = packetIdOf(reader)
  const code = reader.left > 0 ? reader.byte() : 0
  const codes = type <= PUBREC ? PUBLISH_CODES : RELEASE_CODES
  if (!codes.has(code)) reader.fail(protocolError('an unknown reason code'))
  if (reader.left > 0) readProperties(reader, IN.acknowledgement)
  if (reader.left > 0) reader.fail(malformed('bytes after the end of an acknowledgement'))
  return reader.fault ?? { id, code }
}

export interface Filter5 {
  readonly filter: string
  readonly qos: 0 | 1 | 2
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  /** Says what is sent: 0: what is retained is sent, 1: only to a new subscription, 2: it is not. */
  readonly retainHandling: 0 | 1 | 2
}

export interface Subscribe5 {
  readonly id: number
  readonly identifier: number | undefined
  readonly filters: readonly Filter5[]
}

export function readSubscribe(
  first: number,
  bytes: Buffer,
  body: number,
  end: number,
  maxTopicBytes: number,
): Subscribe5 | Fault5 {
  if ((first & 0x0f) !== 2) return malformed('reserved flags are set')
  const reader = new Reader(bytes, body, end)
  const id = packetIdOf(reader)
  const { subscriptionIdentifier } = readProperties(reader, IN.subscribe)
  const filters: Filter5[] = []
  while (reader.left > 0) {
    if (filters.length >= MAX_FILTERS) return TOO_MANY
    const filter = filterOf(reader, maxTopicBytes)
    filters.push(withOptions(filter, reader))
  }
  if (filters.length === 0) reader.fail(protocolError('SUBSCRIBE without a filter'))
  return reader.fault ?? { id, identifier: subscriptionIdentifier, filters }
}

const TOO_MANY: Fault5 = { code: REASON.quotaExceeded, text: TOO_MANY_FILTERS }

function withOptions(filter: string, reader: Reader): Filter5 {
  const options = reader.byte()
  const qos = options & 3
  const retainHandling = (options >> 4) & 3
  if ((options & 0xc0) !== 0) reader.fail(malformed('reserved subscription options are set'))
  if (qos === 3) reader.fail(protocolError('invalid QoS in SUBSCRIBE'))
  if (retainHandling === 3) reader.fail(protocolError('retain handling 3'))
  const noLocal = (options & 4) !== 0
  if (noLocal && filter.startsWith('$share/')) {
    reader.fail(protocolError('no local with a shared subscription'))
  }
  return {
    filter,
    qos: qos as 0 | 1 | 2,
    noLocal,
    retainAsPublished: (options & 8) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
  }
}

function filterOf(reader: Reader, maxTopicBytes: number): string {
  const filter = reader.text()
  if (reader.fault !== undefined) return ''
  if (Buffer.byteLength(filter) > maxTopicBytes) {
    reader.fail({ code: REASON.invalidFilter, text: TOO_LONG_FILTER })
  } else if (!isFilter(filter)) {
    reader.fail(malformed('invalid filter'))
  }
  return filter
}

export interface Unsubscribe5 {
  readonly id: number
  readonly filters: readonly string[]
}

export function readUnsubscribe(
  first: number,
  bytes: Buffer,
  body: number,
  end: number,
  maxTopicBytes: number,
): Unsubscribe5 | Fault5 {
  if ((first & 0x0f) !== 2) return malformed('reserved flags are set')
  const reader = new Reader(bytes, body, end)
  const id = packetIdOf(reader)
  readProperties(reader, IN.unsubscribe)
  const filters: string[] = []
  while (reader.left > 0) {
    if (filters.length >= MAX_FILTERS) return TOO_MANY
    filters.push(filterOf(reader, maxTopicBytes))
  }
  if (filters.length === 0) reader.fail(protocolError('UNSUBSCRIBE without a filter'))
  return reader.fault ?? { id, filters }
}

export interface Disconnect5 {
  readonly code: number
  readonly sessionExpirySeconds: number | undefined
}

/** The codes that a client may end with (section 3.14.2.1). */
const DISCONNECT_CODES = new Set([
  0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
])

export function readDisconnect(
  first: number,
  bytes: Buffer,
  body: number,
  end: number,
): Disconnect5 | Fault5 {
  if ((first & 0x0f) !== 0) return malformed('reserved flags are set')
  const reader = new Reader(bytes, body, end)
  const code = reader.left > 0 ? reader.byte() : 0
  if (!DISCONNECT_CODES.has(code)) {
    reader.fail(protocolError('a reason code that a client may not send'))
  }
  const { sessionExpiry } = reader.left > 0 ? readProperties(reader, IN.disconnect) : NO_EXPIRY
  if (reader.left > 0) reader.fail(malformed('bytes after the end of DISCONNECT'))
  return reader.fault ?? { code, sessionExpirySeconds: sessionExpiry }
}

const NO_EXPIRY: Pick<Properties, 'sessionExpiry'> = {}

export function isFault(read: object | Fault5): read is Fault5 {
  return 'text' in read && 'code' in read
}
