import type {
  MqttStore,
  QueueMessage,
  QueueTarget,
  SessionTerms,
  Urgency,
} from '../../../bridge/mqtt-store.ts'
import {
  incomingOfRow,
  queuedOfRow,
  queueSizeOfRow,
  sessionOfRow,
  subscriptionOfRow,
  willOfRow,
} from '../../mqtt-records.ts'
import type { RetainedChange } from '../../retained-sums.ts'
import { QUEUES_OF_NOBODY, SESSIONS_BEYOND, SUBSCRIPTIONS_BEYOND } from '../../sessions-beyond.ts'
import type { Sql } from '../connection.ts'
import type { PostgresDatabase } from '../database.ts'
import { upsert } from '../tables/statements.ts'
import type { WorkSql } from '../writer.ts'
import { RetainedTable } from './retained.ts'

/** The terms of a session that lasts as long as the configuration says. */
const LASTING: SessionTerms = { expirySeconds: null, leftAt: null }

const PUT_SESSION = upsert('mqtt_sessions', 'client_id, owner, used_at, expiry_seconds, left_at', 'client_id')
const PUT_SUBSCRIPTION = upsert('mqtt_subscriptions', 'client_id, filter, qos, extra', 'client_id, filter')
const PUT_WILL = upsert(
  'mqtt_wills',
  'client_id, topic, payload, qos, retain, extra, delay_seconds, due_at',
  'client_id',
)
const PUT_INCOMING = upsert(
  'mqtt_incoming',
  'client_id, message_id, topic, payload, qos, retain, extra',
  'client_id, message_id',
)
const DELETE_SESSIONS = deleteSessions('= ANY($1)')
/** Deletes all sessions of an owner. */
export const DELETE_SESSIONS_OF = deleteSessions('IN (SELECT client_id FROM mqtt_sessions WHERE owner = $1)')
const CUT_SESSIONS = deleteSessions(`IN (${SESSIONS_BEYOND('$1')})`)
const CUT_QUEUES = `DELETE FROM mqtt_queue WHERE client_id IN (${QUEUES_OF_NOBODY})`
const CUT_SUBSCRIPTIONS = deleteSessions(`IN (${SUBSCRIPTIONS_BEYOND('$1')})`)
const SIZES = `SELECT client_id, count(*) AS messages, max(sequence) AS newest, max(broker_counter) AS newest_counter,
  sum(octet_length(topic) + octet_length(payload) + coalesce(octet_length(extra), 0)) AS bytes FROM mqtt_queue GROUP BY client_id`

export interface PostgresMqttStore extends MqttStore {
  /** Counts what is retained; until then the sums are those of nothing. */
  load(): Promise<void>
  /** Counts retained messages and their bytes. */
  retainedSums(): { readonly rows: number; readonly bytes: number }
}

/** The MqttStore port on PostgreSQL. Shares the connections and the commits of `createPostgresStore`. */
export function createPostgresMqttStore(database: PostgresDatabase): PostgresMqttStore {
  const { writer } = database
  const retained = new RetainedTable()
  const writeAt = <T>(urgency: Urgency, run: (sql: WorkSql) => Promise<T>) =>
    urgency === 'soon' ? writer.soon(run) : writer.transact(run)
  const write = (run: (sql: WorkSql) => void) => writer.transact(async (sql) => run(sql))
  /** Makes a change whose sums are taken back when it is not stored. */
  const changing = async <T>(
    urgency: Urgency,
    run: (sql: WorkSql, changes: RetainedChange[]) => Promise<T>,
  ): Promise<T> => {
    const changes: RetainedChange[] = []
    try {
      return await writeAt(urgency, async (sql) => {
        // An earlier run of it was undone.
        retained.undo(changes.splice(0))
        await retained.loaded(sql)
        return run(sql, changes)
      })
    } catch (error) {
      retained.undo(changes)
      throw error
    }
  }
  /** Reads after the writes that were asked for before, whether they succeed or not. */
  const read = async <T>(work: (sql: Sql) => Promise<T>): Promise<T> => {
    await writer.settled()
    return database.read(work)
  }

  return {
    async load() {
      await writer.transact((sql) => retained.loaded(sql))
    },
    loadSubscriptions: () =>
      read(async (sql) =>
        (await sql.all('SELECT * FROM mqtt_subscriptions')).map((row) => subscriptionOfRow(row)),
      ),
    loadSessions: () =>
      read(async (sql) =>
        (await sql.all('SELECT * FROM mqtt_sessions ORDER BY used_at')).map((row) => sessionOfRow(row)),
      ),
    queueSizes: () => read(async (sql) => (await sql.all(SIZES)).map(queueSizeOfRow)),

    putSubscriptions: (rows) =>
      write((sql) => {
        for (const { clientId, filter, qos, extra } of rows)
          sql.later(PUT_SUBSCRIPTION, clientId, filter, qos, extra)
      }),
    deleteSubscriptions: (clientId, filters) =>
      write((sql) =>
        sql.later(
          'DELETE FROM mqtt_subscriptions WHERE client_id = $1 AND filter = ANY($2)',
          clientId,
          filters,
        ),
      ),

    putSession: (clientId, owner, at, urgency = 'now', terms = LASTING) =>
      writeAt(urgency, async (sql) =>
        sql.later(PUT_SESSION, clientId, owner, at, terms.expirySeconds, terms.leftAt),
      ),
    deleteSessions: (clientIds) => write((sql) => sql.later(DELETE_SESSIONS, clientIds)),
    cutSessions: ({ sessions, subscriptions }) =>
      writer.transact(async (sql) => {
        const gone = await sql.run(CUT_SESSIONS, sessions)
        const crowded = await sql.run(CUT_SUBSCRIPTIONS, subscriptions)
        await sql.run(CUT_QUEUES)
        return gone + crowded
      }),
    sessionsIdleSince: (before) =>
      read(async (sql) =>
        (await sql.all('SELECT client_id FROM mqtt_sessions WHERE used_at < $1', before)).map((row) =>
          String(row.client_id),
        ),
      ),

    loadWills: () =>
      read(async (sql) => (await sql.all('SELECT * FROM mqtt_wills')).map((row) => willOfRow(row))),
    putWill: (will) =>
      write((sql) => {
        const { clientId, topic, payload, qos, retain, extra, delaySeconds, dueAt } = will
        sql.later(PUT_WILL, clientId, topic, payload, qos, retain ? 1 : 0, extra, delaySeconds, dueAt)
      }),
    deleteWill: (clientId) =>
      writer.soon(async (sql) => sql.later('DELETE FROM mqtt_wills WHERE client_id = $1', clientId)),

    enqueue: (targets, message) => writer.transact((sql) => enqueue(sql, targets, message)),
    queued: (clientId, after, limit) =>
      read(async (sql) => {
        const text =
          'SELECT * FROM mqtt_queue WHERE client_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3'
        return (await sql.all(text, clientId, after, limit)).map((row) => queuedOfRow(row))
      }),
    queuedOne: (clientId, sequence) =>
      database.read(async (sql) => {
        const [row] = await sql.all(
          'SELECT * FROM mqtt_queue WHERE sequence = $1 AND client_id = $2',
          sequence,
          clientId,
        )
        return row === undefined ? null : queuedOfRow(row)
      }),
    updateQueued: (clientId, sequence, { messageId, stage }, urgency) =>
      writeAt(urgency, async (sql) => {
        const place = 'WHERE sequence = $1 AND client_id = $2'
        if (messageId !== undefined)
          sql.later(`UPDATE mqtt_queue SET message_id = $3 ${place}`, sequence, clientId, messageId)
        // The receiver has the message; what is left to do is the PUBREL, which has no payload.
        if (stage === 'pubrel')
          sql.later(
            `UPDATE mqtt_queue SET stage = 'pubrel', payload = '', extra = NULL ${place}`,
            sequence,
            clientId,
          )
      }),
    deleteQueued: (clientId, sequence) =>
      writer.soon(async (sql) =>
        sql.later('DELETE FROM mqtt_queue WHERE sequence = $1 AND client_id = $2', sequence, clientId),
      ),

    putIncoming: (clientId, messageId, { topic, payload, qos, retain, extra }) =>
      write((sql) =>
        sql.later(PUT_INCOMING, clientId, messageId, topic, payload, qos, retain ? 1 : 0, extra),
      ),
    incoming: (clientId, messageId) =>
      read(async (sql) => {
        const text = 'SELECT * FROM mqtt_incoming WHERE client_id = $1 AND message_id = $2'
        const [row] = await sql.all(text, clientId, messageId)
        return row === undefined ? null : incomingOfRow(row)
      }),
    countIncoming: (clientId) =>
      read(async (sql) => {
        const [row] = await sql.all('SELECT count(*) AS n FROM mqtt_incoming WHERE client_id = $1', clientId)
        return Number(row?.n)
      }),
    deleteIncoming: (clientId, messageId) =>
      writer.transact(async (sql) => {
        const text = 'DELETE FROM mqtt_incoming WHERE client_id = $1 AND message_id = $2'
        return (await sql.run(text, clientId, messageId)) > 0
      }),
    deleteAllIncoming: (clientId) =>
      write((sql) => sql.later('DELETE FROM mqtt_incoming WHERE client_id = $1', clientId)),

    putRetained: (message, limits, urgency) =>
      changing(urgency, (sql, changes) => retained.put(sql, message, limits, changes)),
    deleteRetained: (topic, urgency) =>
      changing(urgency, (sql, changes) => retained.delete(sql, topic, changes)),
    deleteRetainedBelow: (prefix) =>
      changing('now', (sql, changes) => retained.deleteBelow(sql, prefix, changes)),
    deleteExpiredRetained: (after, limit, now) =>
      changing('soon', (sql, changes) => retained.deleteExpired(sql, after, limit, now, changes)),
    retained: (topic) => read((sql) => retained.one(sql, topic)),
    retainedTopics: (prefix, after, limit) => read((sql) => retained.topics(sql, prefix, after, limit)),
    retainedSums: () => retained.known,
    // The room of the server is its operator's matter.
    hasRoom: () => true,
  }
}

/** One statement for all targets; the sequences are given in their order. */
async function enqueue(
  sql: WorkSql,
  targets: readonly QueueTarget[],
  message: QueueMessage,
): Promise<number[]> {
  const { brokerId, brokerCounter, topic, payload, extra } = message
  const rows = await sql.all(
    `INSERT INTO mqtt_queue (client_id, broker_id, broker_counter, stage, topic, payload, qos, retain, extra)
      SELECT t.client_id, $4, $5, 'publish', $6, $7, t.qos, t.retain, $8
      FROM unnest($1::text[], $2::smallint[], $3::smallint[]) WITH ORDINALITY t(client_id, qos, retain, place)
      ORDER BY t.place RETURNING sequence`,
    targets.map(({ clientId }) => clientId),
    targets.map(({ qos }) => qos),
    targets.map(({ retain }) => (retain ? 1 : 0)),
    brokerId,
    brokerCounter,
    topic,
    payload,
    extra,
  )
  return rows.map(({ sequence }) => Number(sequence)).sort((a, b) => a - b)
}

function deleteSessions(which: string): string {
  return `WITH
  ${['mqtt_subscriptions', 'mqtt_queue', 'mqtt_incoming', 'mqtt_wills']
    .map((table) => `d_${table} AS (DELETE FROM ${table} WHERE client_id ${which})`)
    .join(',\n  ')}
  DELETE FROM mqtt_sessions WHERE client_id ${which}`
}
