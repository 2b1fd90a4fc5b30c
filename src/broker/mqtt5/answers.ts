import { PropertyWriter, varintBytes } from './properties.ts'

/** Packets of MQTT 5 that the bridge answers with, as bytes. */

const REASON_STRING = 0x1f

function packet(first: number, ...parts: Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  return Buffer.concat([Buffer.from([first, ...varintBytes(length)]), ...parts])
}

function reasons(text: string | undefined): Buffer {
  const writer = new PropertyWriter()
  if (text !== undefined) writer.text(REASON_STRING, text)
  return writer.bytes()
}

/** The promises of CONNACK. An undefined one is as the standard has it. */
export interface Promises5 {
  readonly sessionExpirySeconds?: number | undefined
  readonly receiveMaximum?: number | undefined
  readonly maximumPacketSize?: number | undefined
  readonly assignedClientId?: string | undefined
  readonly topicAliasMaximum?: number | undefined
  readonly reason?: string | undefined
  readonly sharedSubscriptions?: boolean | undefined
  readonly serverKeepAlive?: number | undefined
  readonly responseInformation?: string | undefined
}

export function connack5(present: boolean, code: number, promises: Promises5): Buffer {
  const writer = new PropertyWriter()
  const { sessionExpirySeconds, receiveMaximum, maximumPacketSize, assignedClientId } = promises
  const { topicAliasMaximum, reason, sharedSubscriptions, serverKeepAlive, responseInformation } = promises
  if (sessionExpirySeconds !== undefined) writer.uint32(0x11, sessionExpirySeconds)
  if (receiveMaximum !== undefined) writer.uint16(0x21, receiveMaximum)
  if (maximumPacketSize !== undefined) writer.uint32(0x27, maximumPacketSize)
  if (assignedClientId !== undefined) writer.text(0x12, assignedClientId)
  if (topicAliasMaximum !== undefined) writer.uint16(0x22, topicAliasMaximum)
  if (reason !== undefined) writer.text(REASON_STRING, reason)
  if (sharedSubscriptions === false) writer.byte(0x2a, 0)
  if (serverKeepAlive !== undefined) writer.uint16(0x13, serverKeepAlive)
  if (responseInformation !== undefined) writer.text(0x1a, responseInformation)
  return packet(0x20, Buffer.from([present ? 1 : 0, code]), writer.bytes())
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP, as short as it may be. */
export function acknowledgement5(first: number, id: number, code: number, reason?: string): Buffer {
  if (code === 0 && reason === undefined) return Buffer.from([first, 2, id >> 8, id & 0xff])
  const head = Buffer.from([id >> 8, id & 0xff, code])
  return reason === undefined ? packet(first, head) : packet(first, head, reasons(reason))
}

/** SUBACK or UNSUBACK: a code for each filter, in their order. */
export function listAnswer5(first: number, id: number, codes: readonly number[], reason?: string): Buffer {
  return packet(first, Buffer.from([id >> 8, id & 0xff]), reasons(reason), Buffer.from(codes))
}

export function disconnect5(code: number, reason?: string): Buffer {
  return reason === undefined
    ? packet(0xe0, Buffer.from([code]))
    : packet(0xe0, Buffer.from([code]), reasons(reason))
}
