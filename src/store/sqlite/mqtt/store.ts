import type { MqttStore, SessionTerms, Urgency } from '../../../bridge/mqtt-store.ts'
import type { RetainedChange } from '../../retained-sums.ts'
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
  /** Counts retained messages and their bytes; the rows are counted once, the first time. */
  retainedSums(): { readonly rows: number; readonly bytes: number }
}

/** The MqttStore port on SQLite. Shares the connection and the commits of `createStore`. */
export function createMqttStore(database: Database): SqliteMqttStore {
  const { sql, writer, room } = database
  const sessions = new MqttSessionsTable(sql)
  const queue = new MqttQueueTable(sql)
  const incoming = new MqttIncomingTable(sql)
  const retained = new MqttRetainedTable(sql)
  const wills = new MqttWillsTable(sql)

  const write = <T>(run: () => T, bytes = 0) => writer.write(run, bytes)
  const writeAt = <T>(urgency: Urgency, run: () => T, bytes = 0) =>
    urgency === 'soon' ? writer.writeSoon(run, bytes) : writer.write(run, bytes)
  const hasRoom = (bytes: number) => room.has(bytes)
  /** Makes a change whose sums are taken back when it is not committed. */
  const changing = async <T>(
    urgency: Urgency,
    run: (changes: RetainedChange[]) => T,
    bytes = 0,
  ): Promise<T> => {
    const changes: RetainedChange[] = []
    try {
      return await writeAt(urgency, () => run(changes), bytes)
    } catch (error) {
      retained.undo(changes)
      throw error
    }
  }
  /** Reads after the writes that were asked for before, whether they succeed or not. */
  const read = async <T>(run: () => T): Promise<T> => {
    const pending = writer.settled()
    if (pending !== undefined) await pending
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

    putSession: (clientId, owner, at, urgency = 'now', terms = LASTING) =>
      writeAt(urgency, () => sessions.put(clientId, owner, at, terms)),
    // Asked for at once: nothing gets between them, and each commit takes some of them.
    deleteSessions: async (clientIds) => {
      const works = clientIds.flatMap((clientId) => [
        ...queue
          .parts(clientId)
          .map(({ upTo, bytes }) => write(() => queue.deleteUpTo(clientId, upTo), bytes)),
        write(() => sessions.delete(clientId)),
      ])
      await Promise.all(works)
    },
    // A start on a disk that takes nothing writes nothing without need.
    cutSessions: async (most) =>
      (await read(() => sessions.isBeyond(most))) ? write(() => sessions.cut(most)) : 0,
    sessionsIdleSince: (before) => read(() => sessions.idleSince(before)),

    loadWills: () => load(() => wills.all()),
    putWill: (will) => write(() => wills.put(will)),
    deleteWill: (clientId) => writer.writeSoon(() => wills.delete(clientId)),

    enqueue: (targets, message) =>
      writer.write(() => queue.insert(targets, message), targets.length * message.payload.length),
    queued: (clientId, after, limit) => read(() => queue.page(clientId, after, limit)),
    queuedOne: async (clientId, sequence) => queue.one(clientId, sequence),
    updateQueued: (clientId, sequence, change, urgency) =>
      writeAt(urgency, () => queue.update(clientId, sequence, change)),
    deleteQueued: (clientId, sequence) => writer.writeSoon(() => queue.delete(clientId, sequence)),

    putIncoming: (clientId, messageId, message) => write(() => incoming.put(clientId, messageId, message)),
    incoming: (clientId, messageId) => read(() => incoming.one(clientId, messageId)),
    countIncoming: (clientId) => read(() => incoming.count(clientId)),
    deleteIncoming: (clientId, messageId) => write(() => incoming.delete(clientId, messageId)),
    deleteAllIncoming: (clientId) => write(() => incoming.deleteAll(clientId)),

    putRetained: (message, limits, urgency) =>
      changing(urgency, (changes) => retained.put(message, limits, hasRoom, changes), message.payload.length),
    deleteRetained: (topic, urgency) => changing(urgency, (changes) => retained.delete(topic, changes)),
    deleteRetainedBelow: (prefix) => changing('now', (changes) => retained.deleteBelow(prefix, changes)),
    deleteExpiredRetained: (after, limit, now) =>
      changing('soon', (changes) => retained.deleteExpired(after, limit, now, changes)),
    retained: (topic) => read(() => retained.one(topic)),
    retainedTopics: (prefix, after, limit) => read(() => retained.topics(prefix, after, limit)),
    retainedSums: () => retained.sums,
    hasRoom,
  }
}
