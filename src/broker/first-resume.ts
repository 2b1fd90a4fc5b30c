import type { RetainedView } from '../bridge/ports.ts'
import type { TurnTime } from '../kernel/turn-time.ts'
import { filterMatches } from '../protocol/topics.ts'
import type { Qos } from './aedes-internals.ts'
import { routedPacket } from './delivery.ts'
import type { MqttSession } from './session.ts'

/**
 * A stored session that may have missed something, because the bridge was down or its queue was full, is told
 * what the view holds for its subscriptions: MQTT sends retained messages at SUBSCRIBE only. As ordinary
 * messages, as fast as the reader takes them; false when the session ended before all was told.
 */
export async function sendRetainedView(
  session: MqttSession,
  view: RetainedView,
  sending: TurnTime,
): Promise<boolean> {
  const { delivery } = session
  const filters = delivery.filters.all().map(([filter]) => filter)
  const wasSent = earlierFilters(filters)
  for (const [index, filter] of filters.entries()) {
    for (const { topic, payload } of view.match(filter)) {
      if (!session.alive) return false
      if (!wasSent(topic, index) && send(session, topic, payload)) await delivery.outbox.room()
      // Before the next one is made: an older status must not leave behind a newer one that came live.
      if (!sending.isLeft) await sending.next()
    }
  }
  return session.alive
}

function send({ delivery }: MqttSession, topic: string, payload: Uint8Array): boolean {
  const granted = delivery.filters.qosFor(topic)
  if (granted < 0 || !delivery.mayReceive(topic)) return false
  const qos: Qos = granted > 0 ? 1 : 0
  return delivery.outbox.put(delivery.ownCopy(routedPacket(topic, payload, qos), qos))
}

/**
 * Returns whether a topic was sent for a filter before this one: a dashboard may have one for each topic of a fleet.
 */
function earlierFilters(filters: readonly string[]): (topic: string, index: number) => boolean {
  const places = new Map(filters.map((filter, i) => [filter, i]))
  const wildcards = [...places].filter(([filter]) => /[+#]/.test(filter))
  return (topic, index) =>
    (places.get(topic) ?? index) < index ||
    wildcards.some(([filter, i]) => i < index && filterMatches(filter, topic))
}
