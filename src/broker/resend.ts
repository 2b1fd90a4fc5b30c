import type { Qos, RoutedPacket } from './aedes-internals.ts'
import type { LeftMessages } from './left-messages.ts'
import { isOver } from './outbox.ts'
import type { MqttSession } from './session.ts'
import type { SessionContext } from './session-context.ts'

/** The things that come out of the store for a session that returns: a message, or the rest of a QoS 2 handshake. */
export type QueuedPacket = RoutedPacket | { readonly cmd: 'pubrel'; readonly messageId: number }

/**
 * Sends what was queued for a session that returns, in its order and no faster than its reader takes it, with what no
 * store kept in its place. Rights and QoS may have changed since, and the time of a message may be up.
 */
export async function resend(
  session: MqttSession,
  queue: AsyncIterable<QueuedPacket>,
  left: LeftMessages,
  context: SessionContext,
): Promise<void> {
  const { outbox } = session.delivery
  for await (const packet of queue) {
    if (!context.sending.isLeft) await context.sending.next()
    if (session.isGone) return
    const { messageId } = packet
    const isRelease = packet.cmd === 'pubrel'
    if (!isRelease && messageId == null) await left.beforeUnsent(packet.brokerCounter)
    if (isRelease) outbox.resendRelease(packet.messageId)
    else await resendMessage(session, packet, context)
    if (messageId != null) await left.after(messageId)
  }
}

/** Says what the subscriptions ask for that a message is for: one that is shared, or all the others that match. */
function matchOf(
  { client, delivery: { filters } }: MqttSession,
  { share, topic }: RoutedPacket,
): { readonly qos: Qos; readonly identifiers: readonly number[] | undefined } | undefined {
  if (share === undefined) return filters.match(topic, false)
  const qos = client.subscriptions[share]?.qos
  const identifier = filters.identifierOf(share)
  return qos === undefined
    ? undefined
    : { qos, identifiers: identifier === undefined ? undefined : [identifier] }
}

async function resendMessage(
  session: MqttSession,
  packet: RoutedPacket,
  context: SessionContext,
): Promise<void> {
  const { outbox } = session.delivery
  const { rights, counters, steady } = context
  outbox.resent(packet.brokerCounter)
  if (!rights.receive(session.identity, packet.topic, session.clientId)) {
    counters.denied.forward++
    await outbox.forgetStored(packet)
    return
  }
  const wasSent = packet.messageId !== undefined && packet.messageId !== null
  if (isOver({ packet: { ...packet, dup: wasSent }, qos: packet.qos }, steady)) {
    counters.undelivered++
    await outbox.forgetStored(packet)
    return
  }
  const match = matchOf(session, packet)
  // Without a subscription any more, QoS stays: it was promised when it was queued. What was sent before is sent as
  // it was [MQTT-4.4.0-1].
  const qos = (wasSent ? packet.qos : Math.min(packet.qos, match?.qos ?? packet.qos)) as Qos
  if (qos === 0) await outbox.forgetStored(packet)
  await outbox.resend({
    packet: wasSent ? { ...packet, dup: true } : packet,
    qos,
    frame: undefined,
    retain: packet.retain,
    identifiers: match?.identifiers,
    stored: true,
  })
}
