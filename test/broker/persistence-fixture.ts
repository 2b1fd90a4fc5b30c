import type { Log, RetainedMessage, RetainedView } from '../../src/bridge/ports.ts'
import type { PersistenceOptions } from '../../src/broker/persistence/persistence.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { filterMatches } from '../../src/protocol/topics.ts'
import { type Database, openDatabase } from '../../src/store/sqlite/database.ts'
import { createMqttStore } from '../../src/store/sqlite/mqtt/store.ts'
import { WholePersistence } from './persistence-shim.ts'

export const silent: Log = { debug() {}, info() {}, warn() {}, error() {} }

/** A view of a Map, the way the bridge makes one of its registry. */
export function viewOf(
  owned: ReadonlyMap<string, string>,
  owns = (topic: string) => owned.has(topic),
): RetainedView {
  return {
    owns,
    *match(filter): Iterable<RetainedMessage> {
      for (const topic of owned.keys()) {
        if (!filterMatches(filter, topic)) continue
        yield { topic, payload: Buffer.from(owned.get(topic) ?? '') }
      }
    },
  }
}

export const LIMITS: PersistenceOptions['limits'] = {
  maxQueuedPerSession: 1000,
  maxQueuedBytesPerIdentity: 1024 * 1024,
  maxStoredSessionsPerIdentity: 12,
  maxInflightPerSession: 100,
  maxRetained: 10_000,
  maxRetainedBytes: 1e9,
  maxQueuedBytes: 1e9,
  retainedBelow: () => undefined,
}

export function open(file = ':memory:'): Database {
  return openDatabase({ file, clock: systemClock, log: silent })
}

export function persistenceOn(database: Database, changes: Partial<PersistenceOptions> = {}) {
  return new WholePersistence({
    store: createMqttStore(database),
    view: viewOf(new Map()),
    clock: systemClock,
    log: silent,
    limits: LIMITS,
    onDropped: () => {},
    ...changes,
  })
}
