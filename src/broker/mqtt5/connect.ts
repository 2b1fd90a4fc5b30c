import { isResponseTopic, isTopicName } from '../strings.ts'
import {
  IN,
  type Properties,
  readProperties,
  TOO_MANY_PROPERTIES,
  tooMany,
  varintBytes,
} from './properties.ts'
import { Reader } from './reader.ts'
import { type Fault5, malformed, protocolError, REASON } from './reasons.ts'

/** A will of MQTT 5, as its CONNECT says it. */
export interface Will5 {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly delaySeconds: number
  readonly properties: Readonly<Properties>
}

/** The wishes of a CONNECT of MQTT 5 beyond one of MQTT 3.1.1. */
export interface Connect5 {
  readonly cleanStart: boolean
  readonly sessionExpirySeconds: number
  /** QoS 1 and 2 messages that the client takes before it has acknowledged them. */
  readonly receiveMaximum: number
  /** The largest packet that the client takes. */
  readonly maximumPacketSize: number
  readonly topicAliasMaximum: number
  readonly wantsResponseInformation: boolean
  /** Shows whether acknowledgements may have a reason string. */
  readonly wantsReasons: boolean
  readonly authenticationMethod: string | undefined
  readonly will: Will5 | undefined
  /** The same as a CONNECT of MQTT 3.1.1, without the will. */
  readonly packet: Buffer
}

const USERNAME = 0x80
const PASSWORD = 0x40
const WILL_BITS = 0x38
const WILL = 0x04
const CLEAN = 0x02
const KEPT = USERNAME | PASSWORD | CLEAN

/** Reads a CONNECT whose protocol level is 5. `body`: where its protocol name starts. */
export function readConnect(bytes: Buffer, start: number, body: number, end: number): Connect5 | Fault5 {
  const reader = new Reader(bytes, body, end)
  reader.text()
  reader.byte()
  const flags = reader.byte()
  const keepalive = reader.uint16()
  const flagFault = ((bytes[start] as number) & 0x0f) !== 0 ? RESERVED : faultOfFlags(flags)
  if (flagFault !== undefined) return flagFault
  const properties = readProperties(reader, IN.connect)
  const clientId = clientIdOf(reader)
  const will = (flags & WILL) === 0 ? undefined : readWill(reader, flags)
  const signInAt = reader.at
  if ((flags & USERNAME) !== 0) reader.text()
  if ((flags & PASSWORD) !== 0) reader.binary()
  if (reader.left > 0) reader.fail(malformed('bytes after the end of CONNECT'))
  if (reader.fault !== undefined) return reader.fault
  if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    return protocolError('authentication data without a method')
  }
  return {
    cleanStart: (flags & CLEAN) !== 0,
    sessionExpirySeconds: properties.sessionExpiry ?? 0,
    receiveMaximum: properties.receiveMaximum ?? 65_535,
    maximumPacketSize: properties.maximumPacketSize ?? Number.POSITIVE_INFINITY,
    topicAliasMaximum: properties.topicAliasMaximum ?? 0,
    wantsResponseInformation: properties.requestResponseInformation === 1,
    wantsReasons: properties.requestProblemInformation !== 0,
    authenticationMethod: properties.authenticationMethod,
    will,
    packet: connectPacket(flags & KEPT, keepalive, clientId, bytes.subarray(signInAt, end)),
  }
}

const RESERVED = malformed('reserved flags are set')

function faultOfFlags(flags: number): Fault5 | undefined {
  if ((flags & 1) !== 0) return malformed('reserved CONNECT flag is set')
  if ((flags & WILL) === 0 && (flags & WILL_BITS) !== 0) return malformed('will flags without a will')
  return (flags & 0x18) === 0x18 ? malformed('will with QoS 3') : undefined
}

/** A client id that is no text has a code of its own. */
function clientIdOf(reader: Reader): string {
  const before = reader.fault
  const from = reader.at
  const clientId = reader.text()
  const whole = reader.end - from >= 2 && reader.bytes.readUInt16BE(from) <= reader.end - from - 2
  if (before === undefined && reader.fault !== undefined && whole) {
    reader.fault = {
      code: REASON.invalidClientId,
      text: 'the client id is no UTF-8, or has control characters',
    }
  }
  return clientId
}

function readWill(reader: Reader, flags: number): Will5 {
  const properties = readProperties(reader, IN.will)
  const from = reader.at + 2
  const topic = reader.text()
  if (reader.fault === undefined && !isTopicName(reader.bytes, from, reader.at)) {
    reader.fail(malformed('the topic of the will is none'))
  }
  if (tooMany(properties)) reader.fail(TOO_MANY_PROPERTIES)
  const { responseTopic } = properties
  if (responseTopic !== undefined && !isResponseTopic(responseTopic)) {
    reader.fail(protocolError('the response topic is none'))
  }
  return {
    topic,
    payload: reader.binary(),
    qos: ((flags >> 3) & 3) as 0 | 1 | 2,
    retain: (flags & 0x20) !== 0,
    delaySeconds: properties.willDelay ?? 0,
    properties,
  }
}

function connectPacket(flags: number, keepalive: number, clientId: string, signIn: Buffer): Buffer {
  const id = Buffer.from(clientId)
  const head = Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4, flags, keepalive >> 8, keepalive & 0xff])
  const length = head.length + 2 + id.length + signIn.length
  const idLength = Buffer.from([id.length >> 8, id.length & 0xff])
  return Buffer.concat([Buffer.from([0x10, ...varintBytes(length)]), head, idLength, id, signIn])
}
