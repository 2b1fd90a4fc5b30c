import { setImmediate as nextTurn } from 'node:timers/promises'
import type { RetainedView } from '../bridge/ports.ts'
import { filterMatches } from '../protocol/topics.ts'
import type { Qos } from './aedes-internals.ts'
import { ownCopy, routedPacket } from './delivery.ts'
import type { MqttSession } from './session.ts'

/** Topics in one turn of the event loop. */
const SLICE = 64

/**
 * A stored session that may have missed something, because the bridge was down or its queue was full, is told
 * what the view holds for its subscriptions: MQTT sends retained messages at SUBSCRIBE only. As ordinary
 * messages, as fast as the reader takes them; false when the session ended before all was told.
 */
export async function sendRetainedView(session: MqttSession, view: RetainedView): Promise<boolean> {
  const { delivery } = session
  const filters = delivery.filters.all().map(([filter]) => filter)
  const wasSent = earlierFilters(filters)
  let looked = 0
  for (const [index, filter] of filters.entries()) {
    for (const { topic, payload } of view.match(filter)) {
      if (++looked % SLICE === 0) await nextTurn()
      if (!session.alive) return false
      if (wasSent(topic, index)) continue
      const granted = delivery.filters.qosFor(topic)
      if (granted < 0 || !delivery.mayReceive(topic)) continue
      const qos: Qos = granted > 0 ? 1 : 0
      const packet = routedPacket(topic, payload, qos)
      delivery.outbox.put(ownCopy(packet, qos))
      await delivery.outbox.room()
    }
  }
  return session.alive
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
