import type { Publisher, Sessions } from '../bridge/ports.ts'
import type { BrokerPersistence } from './aedes-internals.ts'
import type { SessionWorld } from './session.ts'

/** The ports that this adapter offers to the core. */

const NOTHING = Buffer.alloc(0)

export function createPublisher({ broker }: SessionWorld, persistence: BrokerPersistence): Publisher {
  return {
    publish: (topic, payload, { qos, retain }) => broker.route({ topic, payload, qos, retain }),
    async clearRetained(prefix) {
      const gone = await persistence.clearRetainedBelow(prefix)
      // Those who are subscribed learn it the way they would from any publisher.
      for (const topic of gone) broker.route({ topic, payload: NOTHING, qos: 1, retain: false })
    },
  }
}

export function createSessions(persistence: BrokerPersistence): Sessions {
  return { forget: (name) => persistence.sessions.forget(name) }
}
