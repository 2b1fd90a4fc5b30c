import type { MqttStore, SessionTerms, Urgency } from '../../../bridge/mqtt-store.ts'
import { type Database, damaged } from '../database.ts'
import { isDamage } from '../errors.ts'
import { MqttIncomingTable } from './incoming.ts'
import { MqttQueueTable } from './queue.ts'
import { MqttRetainedTable } from './retained.ts'
import { MqttSessionsTable } from './sessions.ts'
import { MqttWillsTable } from './wills.ts'

/** The terms of a session that lasts as long as the configuration says. */
const LASTING: SessionTerms = { expirySeconds: null, leftAt: null }

export interface SqliteMqttStore extends MqttStore {
  /** Retained messages, give or take what a failed commit took back. Counts the rows once, the first time. */
  retainedSize(): number
}

/** The MqttStore port on SQLite. Shares the connection and the commits of `createStore`. */
export function createMqttStore(database: Database): SqliteMqttStore {
  const { sql, writer } = database
  const sessions = new MqttSessionsTable(sql)
  const queue = new MqttQueueTable(sql)
  const incoming = new MqttIncomingTable(sql)
  const retained = new MqttRetainedTable(sql)
  const wills = new MqttWillsTable(sql)

  const write = <T>(run: () => T) => writer.write(run)
  const writeAt = <T>(urgency: Urgency, run: () => T) =>
    urgency === 'soon' ? writer.writeSoon(run) : writer.write(run)
  /** Reads after the writes that were asked for before, whether they succeed or not. */
  const read = async <T>(run: () => T): Promise<T> => {
    const pending = writer.settled()
    if (pending !== null) await pending
    return run()
  }
  const load = async <T>(run: () => T): Promise<T> => {
    try {
      return await read(run)
    } catch (error) {
      throw isDamage(error) ? damaged(error, database) : error
    }
  }

  return {
    loadSubscriptions: () => load(() => sessions.subscriptions()),
    loadSessions: () => load(() => sessions.sessions()),
    queueSizes: () => load(() => queue.sizes()),

    putSubscriptions: (rows) => write(() => sessions.putSubscriptions(rows)),
    deleteSubscriptions: (clientId, filters) => write(() => sessions.deleteSubscriptions(clientId, filters)),

    sessionOwner: (clientId) => read(() => sessions.owner(clientId)),
    sessionsOf: (owner) => read(() => sessions.of(owner)),
    putSession: (clientId, owner, at, urgency = 'now', terms = LASTING) =>
      writeAt(urgency, () => sessions.put(clientId, owner, at, terms)),
    deleteSession: (clientId) => write(() => sessions.delete(clientId)),
    deleteSessions: (clientIds) =>
      write(() => {
        for (const clientId of clientIds) sessions.delete(clientId)
      }),
    sessionsIdleSince: (before) => read(() => sessions.idleSince(before)),

    loadWills: () => load(() => wills.all()),
    putWill: (will) => write(() => wills.put(will)),
    deleteWill: (clientId) => writer.writeSoon(() => wills.delete(clientId)),

    enqueue: (targets, message) => write(() => queue.insert(targets, message)),
    queued: (clientId, after, limit) => read(() => queue.page(clientId, after, limit)),
    queuedOne: async (clientId, sequence) => queue.one(clientId, sequence),
    countQueued: (clientId) => read(() => queue.count(clientId)),
    updateQueued: (clientId, sequence, change, urgency) =>
      writeAt(urgency, () => queue.update(clientId, sequence, change)),
    deleteQueued: (clientId, sequence) => writer.writeSoon(() => queue.delete(clientId, sequence)),

    putIncoming: (clientId, messageId, message) => write(() => incoming.put(clientId, messageId, message)),
    incoming: (clientId, messageId) => read(() => incoming.one(clientId, messageId)),
    countIncoming: (clientId) => read(() => incoming.count(clientId)),
    deleteIncoming: (clientId, messageId) => write(() => incoming.delete(clientId, messageId)),
    deleteAllIncoming: (clientId) => write(() => incoming.deleteAll(clientId)),

    putRetained: (message, limits, urgency) => writeAt(urgency, () => retained.put(message, limits)),
    deleteRetained: (topic, urgency) => writeAt(urgency, () => retained.delete(topic)),
    deleteRetainedBelow: (prefix) => write(() => retained.deleteBelow(prefix)),
    retained: (topic) => read(() => retained.one(topic)),
    retainedTopics: (prefix, after, limit) => read(() => retained.topics(prefix, after, limit)),
    countRetained: () => read(() => retained.count()),
    retainedSize: () => retained.size(),
  }
}
