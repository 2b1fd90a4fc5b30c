import type { RetainedView } from '../bridge/ports.ts'
import { filterMatches } from '../protocol/topics.ts'
import type { Qos } from './aedes-internals.ts'
import { routedPacket } from './delivery.ts'
import type { MqttSession } from './session.ts'

/**
 * A stored session that may have missed something, because the bridge was down or its queue was full, is told
 * what the view holds for its subscriptions: MQTT sends retained messages at SUBSCRIBE only. As ordinary
 * messages, as fast as the reader takes them; false when the session ended before all was told.
 */
export async function sendRetainedView(session: MqttSession, view: RetainedView): Promise<boolean> {
  const { delivery } = session
  const filters = [...delivery.filters.all()]
  for (const [index, [filter]] of filters.entries()) {
    for (const { topic, payload } of view.match(filter)) {
      if (!session.alive) return false
      if (filters.slice(0, index).some(([earlier]) => filterMatches(earlier, topic))) continue
      const granted = delivery.filters.qosFor(topic)
      if (granted < 0) continue
      const qos: Qos = granted > 0 ? 1 : 0
      const packet = routedPacket(topic, payload, qos)
      delivery.outbox.put({ packet, qos, frame: undefined, stored: false })
      await new Promise<void>((resolve) => delivery.outbox.whenRoom(resolve))
    }
  }
  return session.alive
}
