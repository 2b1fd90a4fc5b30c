import type { MessageContext } from '../../bridge/ports.ts'
import type { Qos, RoutedPacket } from '../aedes-internals.ts'
import { PublishFrame } from '../publish-frame.ts'
import { PropertyWriter, varintBytes } from './properties.ts'

const NOTHING = Buffer.from([0])

/** A message as anybody gets it who speaks MQTT 5 and has no alias, identifier or expiry of it. */
export function frame5(packet: RoutedPacket, qos: Qos, retain: boolean): PublishFrame {
  const { topic, payload, properties } = packet
  const bytes = properties === undefined ? NOTHING : framed(properties)
  return new PublishFrame(topic, payload, qos, retain, packet.dup, bytes)
}

function framed(properties: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(varintBytes(properties.length)), properties])
}

/** The properties that one session's copy of a message has of its own. */
export interface OwnProperties {
  /** Seconds that are left of its life. */
  readonly expirySeconds?: number | undefined
  readonly alias?: number | undefined
  readonly identifiers?: readonly number[] | undefined
}

export function ownFrame5(
  packet: RoutedPacket,
  topic: string,
  qos: Qos,
  retain: boolean,
  { expirySeconds, alias, identifiers }: OwnProperties,
): PublishFrame {
  const writer = new PropertyWriter()
  if (expirySeconds !== undefined) writer.uint32(0x02, expirySeconds)
  if (alias !== undefined) writer.uint16(0x23, alias)
  for (const identifier of identifiers ?? []) writer.varint(0x0b, identifier)
  if (packet.properties !== undefined) writer.raw(packet.properties)
  return new PublishFrame(topic, packet.payload, qos, retain, packet.dup, writer.bytes())
}

/** Encodes a context as properties of a message, without their length. */
export function contextProperties({ responseTopic, correlation }: MessageContext): Uint8Array {
  const writer = new PropertyWriter()
  if (responseTopic !== undefined) writer.text(0x08, responseTopic)
  if (correlation !== undefined) writer.binary(0x09, correlation)
  return writer.content()
}
