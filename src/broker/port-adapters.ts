import type { Feed, PublishedMessage, Publisher, Sessions } from '../bridge/ports.ts'
import type { BrokerPersistence, RoutedPacket } from './aedes-internals.ts'
import { contextProperties } from './mqtt5/publish.ts'
import type { SessionContext } from './session-context.ts'

/** The ports that this adapter offers to the core. */

const NOTHING = Buffer.alloc(0)

export function createPublisher(
  { broker, rights, topics }: SessionContext,
  persistence: BrokerPersistence,
): Publisher {
  return {
    publish: (topic, payload, { qos, retain, correlation }) =>
      broker.route({
        topic,
        payload,
        qos,
        retain,
        properties: correlation === undefined ? undefined : contextProperties({ correlation }),
      }),
    async clearRetainedOf(nodeId) {
      for (const prefix of [topics.dataPrefix(nodeId), ...rights.placesOf(nodeId)]) {
        const gone = await persistence.clearRetainedBelow(prefix)
        // Those who are subscribed learn it the way they would from any publisher.
        for (const topic of gone) broker.route({ topic, payload: NOTHING, qos: 1, retain: false })
      }
    },
  }
}

export function createSessions(persistence: BrokerPersistence): Sessions {
  return { forget: (name) => persistence.sessions.forget(name) }
}

/** `tap` is to be called with each message as it is routed. */
export function createFeed(persistence: BrokerPersistence): {
  feed: Feed
  tap: (message: PublishedMessage) => void
} {
  const listeners: ((message: PublishedMessage) => void)[] = []
  return {
    feed: {
      listen: (listener) => {
        listeners.push(listener)
      },
      async *retained(filter) {
        const packets: AsyncIterable<RoutedPacket> = persistence.createRetainedStream(filter)
        for await (const { topic, payload, qos } of packets) yield { topic, payload, qos, retain: true }
      },
    },
    tap: (message) => {
      for (const listener of listeners) listener(message)
    },
  }
}
