import type {
  QueuedMessage,
  QueueSize,
  StoredMessage,
  StoredSession,
  StoredSubscription,
  StoredWill,
} from '../bridge/mqtt-store.ts'
import { invariant } from '../kernel/assert.ts'
import { RowReader, type SqlRow } from './rows.ts'

/** Makes records of MQTT's rows, whatever store they come from. */

const STAGES = ['publish', 'pubrel'] as const

export function sessionOfRow(
  row: unknown,
  rows = new RowReader('mqtt_sessions', ['client_id']),
): StoredSession {
  const reader = rows.of(row)
  return {
    clientId: reader.text('client_id'),
    owner: reader.text('owner'),
    usedAt: reader.integer('used_at'),
    expirySeconds: reader.integerOrNull('expiry_seconds'),
    leftAt: reader.integerOrNull('left_at'),
  }
}

export function subscriptionOfRow(
  row: unknown,
  rows = new RowReader('mqtt_subscriptions', ['client_id', 'filter']),
): StoredSubscription {
  const reader = rows.of(row)
  return {
    clientId: reader.text('client_id'),
    filter: reader.text('filter'),
    qos: qosOf(row as SqlRow, reader),
    extra: reader.textOrNull('extra'),
  }
}

export function willOfRow(row: unknown, rows = new RowReader('mqtt_wills', ['client_id'])): StoredWill {
  const reader = rows.of(row)
  return {
    clientId: reader.text('client_id'),
    ...messageOf(row, reader),
    delaySeconds: reader.integer('delay_seconds'),
    dueAt: reader.integerOrNull('due_at'),
  }
}

export function queuedOfRow(row: unknown, rows = new RowReader('mqtt_queue', ['sequence'])): QueuedMessage {
  const reader = rows.of(row)
  return {
    sequence: reader.integer('sequence'),
    brokerId: reader.text('broker_id'),
    brokerCounter: reader.integer('broker_counter'),
    messageId: reader.integerOrNull('message_id'),
    stage: reader.oneOf('stage', STAGES),
    ...messageOf(row, reader),
  }
}

export function incomingOfRow(
  row: unknown,
  rows = new RowReader('mqtt_incoming', ['client_id', 'message_id']),
): StoredMessage {
  return messageOf(row, rows.of(row))
}

export function retainedOfRow(row: unknown, rows = new RowReader('mqtt_retained', ['topic'])): StoredMessage {
  return messageOf({ ...(row as SqlRow), retain: 1 }, rows.of({ ...(row as SqlRow), retain: 1 }))
}

export function queueSizeOfRow(row: unknown): QueueSize {
  const size = row as SqlRow & Record<'messages' | 'bytes' | 'newest' | 'newest_counter', number>
  return {
    clientId: String(size.client_id),
    messages: size.messages,
    bytes: size.bytes,
    newest: size.newest,
    newestCounter: size.newest_counter,
  }
}

/** Every topic below `a/` lies between `a/` and `a0`, because 0 is the character after the slash. */
export function topicRange(prefix: string): [string, string] {
  invariant(prefix.endsWith('/'), 'a prefix of topics ends with a slash')
  return [prefix, `${prefix.slice(0, -1)}0`]
}

function messageOf(row: unknown, reader: RowReader): StoredMessage {
  return {
    topic: reader.text('topic'),
    payload: reader.blob('payload'),
    qos: qosOf(row as SqlRow, reader),
    retain: reader.integer('retain') === 1,
    extra: reader.textOrNull('extra'),
  }
}

function qosOf(row: SqlRow, reader: RowReader): 0 | 1 | 2 {
  const { qos } = row
  return qos === 0 || qos === 1 || qos === 2 ? qos : reader.bad('qos', 'is not 0, 1 or 2')
}
