import type { Feed, PublishedMessage, Publisher, Sessions } from '../bridge/ports.ts'
import type { SteadyClock } from '../kernel/steady-clock.ts'
import type { BrokerPersistence } from './aedes-internals.ts'
import { knownSessions } from './known-sessions.ts'
import { contextProperties } from './mqtt5/publish.ts'
import { isExpired } from './outbox.ts'
import { packetsOf } from './retained-for.ts'
import type { MqttSession } from './session.ts'
import type { SessionContext } from './session-context.ts'
import { keysOf } from './session-key.ts'

/** The ports that this adapter offers to the core. */

const NOTHING = Buffer.alloc(0)

export function createPublisher(
  { broker, reading, rights, topics, sending }: SessionContext,
  persistence: BrokerPersistence,
  feed: Feed,
): Publisher {
  /** Topics of which it is still to be told that nothing is retained on them. */
  const ends = new Set<string>()
  feed.listen(({ topic, retain }) => {
    if (retain) ends.delete(topic)
  })
  /** Tells those who are subscribed, as any publisher would: hundreds of topics, to hundreds of readers, in turns. */
  const tellEnds = async (gone: readonly string[]) => {
    for (const topic of gone) ends.add(topic)
    for (const topic of gone) {
      if (!sending.isLeft) await sending.next()
      // It may have been retained anew meanwhile.
      if (ends.delete(topic)) broker.route({ topic, payload: NOTHING, qos: 1, retain: false })
    }
  }
  return {
    get isBehind() {
      return reading.isBehind
    },
    publish: (topic, payload, { qos, retain, correlation, asker, told, reached }) =>
      broker.route({
        topic,
        payload,
        qos,
        retain,
        asker,
        told,
        reached,
        properties: correlation === undefined ? undefined : contextProperties({ correlation }),
      }),
    mayPublish: (nodeId, topic) => rights.publish({ kind: 'limb', nodeId }, topic) === 'route',
    retained: (topic) => feed.retained(topic),
    async clearRetainedOf(nodeId) {
      for (const prefix of [topics.dataPrefix(nodeId), ...rights.placesOf(nodeId)])
        await tellEnds(await persistence.clearRetainedBelow(prefix))
    },
  }
}

/** `live`: every live session that is somebody's, by its key. */
export function createSessions(
  { sessions }: BrokerPersistence,
  live: ReadonlyMap<string, MqttSession>,
): Sessions {
  return {
    forget: (name) => sessions.forget(name),
    list: (page) => knownSessions({ stored: sessions, live }, page),
    async forgetOne(name, clientId) {
      let known = false
      for (const key of keysOf(name, clientId)) {
        const session = live.get(key)
        session?.end('refused', false)
        const isStored = sessions.ownerOf(key) !== undefined
        if (isStored) await sessions.delete(key)
        known ||= isStored || session !== undefined
      }
      return known
    },
  }
}

/** `tap` is to be called with each message as it is routed. */
export function createFeed(
  persistence: BrokerPersistence,
  steady: SteadyClock,
): {
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
        for await (const portion of persistence.retained([filter])) {
          for (const packet of await packetsOf(portion)) {
            const { topic, payload, qos } = packet
            // The sweep deletes it from disk some time later; to everybody else it is gone already.
            if (!isExpired(packet, steady)) yield { topic, payload, qos, retain: true }
          }
        }
      },
    },
    tap: (message) => {
      for (const listener of listeners) listener(message)
    },
  }
}
