/** What the broker counts, as plain numbers; labels come from fixed sets only. */
export interface BrokerCounters {
  /** Open connections, by transport. */
  readonly connections: Record<Transport, number>
  /** Sessions after CONNACK, by kind of identity at their start. */
  readonly sessions: Record<SessionKind, number>
  connectionsTotal: number
  messagesIn: number
  messagesOut: number
  /** Denied PUBLISH, SUBSCRIBE and deliveries. */
  readonly denied: Record<'publish' | 'subscribe' | 'forward' | 'will', number>
  /** QoS 0 messages that were not sent to a reader that is too slow. */
  shed: number
  /** Sessions ended because they neither read nor acknowledge. */
  overrun: number
  /** Messages delivered although the store could not keep them for offline sessions. */
  unstored: number
  /** Connections ended for a violation of the protocol. */
  violations: number
  readonly refused: Record<RefusedReason, number>
}

export type Transport = 'tcp' | 'unix' | 'tls' | 'websocket'
export type SessionKind = 'candidate' | 'limb' | 'principal'
export type RefusedReason =
  | 'connections'
  | 'connections_per_address'
  | 'protocol_version'
  | 'client_id'
  | 'client_id_in_use'
  | 'keepalive'
  | 'busy'
  | 'credentials'
  | 'internal'

export function newCounters(): BrokerCounters {
  return {
    connections: { tcp: 0, unix: 0, tls: 0, websocket: 0 },
    sessions: { candidate: 0, limb: 0, principal: 0 },
    connectionsTotal: 0,
    messagesIn: 0,
    messagesOut: 0,
    denied: { publish: 0, subscribe: 0, forward: 0, will: 0 },
    shed: 0,
    overrun: 0,
    unstored: 0,
    violations: 0,
    refused: {
      connections: 0,
      connections_per_address: 0,
      protocol_version: 0,
      client_id: 0,
      client_id_in_use: 0,
      keepalive: 0,
      busy: 0,
      credentials: 0,
      internal: 0,
    },
  }
}
