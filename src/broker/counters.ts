/** The counters of the broker, as plain numbers; labels come from fixed sets only. */
export interface BrokerCounters {
  /** Open connections, by transport. */
  readonly connections: Record<Transport, number>
  /** Sessions after CONNACK, by kind of identity at their start. */
  readonly sessions: Record<SessionKind, number>
  /** Sessions that were let in, by version of MQTT. */
  readonly versions: Record<MqttVersion, number>
  connectionsTotal: number
  messagesIn: number
  messagesOut: number
  /** Denied PUBLISH, SUBSCRIBE and deliveries. */
  readonly denied: Record<'publish' | 'subscribe' | 'forward' | 'will', number>
  /** QoS 0 messages that were not sent to a reader that is too slow. */
  shed: number
  /** Messages that were left out because their time was up, or the client takes no packet as large. */
  undelivered: number
  /** Sessions ended because they neither read nor acknowledge. */
  overrun: number
  /** Messages delivered although the store could not keep them for offline sessions. */
  unstored: number
  /** Connections ended for a violation of the protocol. */
  violations: number
  /** Sessions ended because nothing came within one and a half keepalives. */
  keepaliveTimeouts: number
  readonly refused: Record<RefusedReason, number>
  /** Counts how often a session met a limit. */
  readonly limits: Record<LimitName, number>
}

/**
 * `messages`, `bytes`, `partial`: reading was paused. `topic`, `subscriptions`: the message or subscription was denied.
 * `packet`, `packet_time`, `filters`, `unsent`, `sign_in_bytes`, `connect_time`, `inflight`: the connection was ended. `strangers`: it
 * was ended, because those who have shown no secret held too much together. `sessions`: it was the oldest of too many
 * sessions of one identity.
 */
export type LimitName =
  | 'messages'
  | 'bytes'
  | 'topic'
  | 'subscriptions'
  | 'principal_subscriptions'
  | 'packet'
  | 'packet_time'
  | 'filters'
  | 'partial'
  | 'strangers'
  | 'sessions'
  | 'sign_in_bytes'
  | 'connect_time'
  | 'inflight'
  | 'unsent'

export type Transport = 'tcp' | 'unix' | 'tls' | 'websocket'
/** A version of MQTT by the name that people know. */
export type MqttVersion = '3.1' | '3.1.1' | '5'
export type SessionKind = 'candidate' | 'limb' | 'principal'
export type RefusedReason =
  | 'connections'
  | 'connections_per_address'
  | 'protocol_version'
  | 'client_id'
  | 'keepalive'
  | 'busy'
  | 'credentials'
  | 'tls'
  | 'proxy_header'
  | 'internal'

export function newCounters(): BrokerCounters {
  return {
    connections: { tcp: 0, unix: 0, tls: 0, websocket: 0 },
    sessions: { candidate: 0, limb: 0, principal: 0 },
    versions: { '3.1': 0, '3.1.1': 0, '5': 0 },
    connectionsTotal: 0,
    messagesIn: 0,
    messagesOut: 0,
    denied: { publish: 0, subscribe: 0, forward: 0, will: 0 },
    shed: 0,
    undelivered: 0,
    overrun: 0,
    unstored: 0,
    violations: 0,
    keepaliveTimeouts: 0,
    refused: {
      connections: 0,
      connections_per_address: 0,
      protocol_version: 0,
      client_id: 0,
      keepalive: 0,
      busy: 0,
      credentials: 0,
      tls: 0,
      proxy_header: 0,
      internal: 0,
    },
    limits: {
      messages: 0,
      bytes: 0,
      topic: 0,
      subscriptions: 0,
      principal_subscriptions: 0,
      packet: 0,
      packet_time: 0,
      filters: 0,
      partial: 0,
      strangers: 0,
      sessions: 0,
      sign_in_bytes: 0,
      connect_time: 0,
      inflight: 0,
      unsent: 0,
    },
  }
}
