/**
 * The bounds that an operator may move. The section `mqtt` of the configuration has the same names, with the default
 * and the meaning of each; a reload changes them.
 */
export interface ConfiguredLimits {
  /** The versions of MQTT that clients may speak: 3 is 3.1, 4 is 3.1.1. */
  readonly versions: readonly number[]
  /** The longest that a session of MQTT 5 may outlive its connection. */
  readonly sessionExpirySeconds: number
  readonly maxConnections: number
  /** This does not hold for loopback and the control socket: proxies and simulators come from there. */
  readonly maxConnectionsPerAddress: number
  readonly connectSeconds: number
  /** A CONNECT: ids, password and a will are well below it. Nothing larger is read before sign-in. */
  readonly maxConnectBytes: number
  /** Memory of all connections that have shown no secret: not signed in, and candidates. */
  readonly maxStrangerBytes: number
  /** A result of 1 MiB and a quarter. */
  readonly maxPacketBytes: number
  /** Large packets of one identity, and of all, that are not whole; further ones are read later. */
  readonly maxPartialBytesPerIdentity: number
  readonly maxPartialBytes: number
  /** Bytes that all sessions of one identity, and all sessions, were sent and have not taken; beyond it whoever has most ends. */
  readonly maxUnsentBytesPerIdentity: number
  readonly maxUnsentBytes: number
  /** A session that sends more than this is read more slowly: nothing is lost, TCP holds its sender back. */
  readonly maxMessagesPerSecond: number
  readonly maxBytesPerSecond: number
  /** Live ones; the next one ends the oldest. */
  readonly maxSessionsPerPrincipal: number
  /** The bytes of a topic or filter. */
  readonly maxTopicBytes: number
  readonly maxTopicLevels: number
  /** The subscriptions of a limb or a candidate. */
  readonly maxSubscriptionsPerSession: number
  /**
   * The subscriptions of all live sessions of one principal together; null: enough for a fleet of `maxConnections`.
   */
  readonly maxSubscriptionsPerPrincipal: number | null
  readonly maxKeepaliveSeconds: number
  /** A client with keepalive 0 is never timed out by MQTT; only TCP's own probes find that it is gone. */
  readonly allowKeepaliveZero: boolean
  /** Unsent bytes of one session above which its QoS 0 messages are shed. */
  readonly maxSessionBufferBytes: number
  /**
   * QoS 1 and 2 messages that a session has not acknowledged; the next ones wait. Also the QoS 2 packet identifiers of
   * one session that wait for PUBREL; beyond it the session ends.
   */
  readonly maxInflightPerSession: number
}

/** The bounds that are the broker's own, each with its reason. */
export interface FixedLimits {
  /** A registration that any real device fits in, twice. */
  readonly maxCandidatePacketBytes: number
  /** The time that a packet of a candidate may take to be whole. */
  readonly partialPacketMs: number
  /** The time that a large packet of a limb or principal may take to be whole when others wait for its room. */
  readonly wholePacketMs: number
  /** Unsent bytes of a candidate: it is owed one answer, and acknowledgements. */
  readonly maxCandidateUnsentBytes: number
  /** QoS 2 packet identifiers of a candidate that wait for PUBREL. */
  readonly maxCandidateInflight: number
  /** The control socket takes imports of tens of thousands of nodes. */
  readonly maxLocalPacketBytes: number
  /** A candidate registers and waits; each change that it registers reaches every operator. */
  readonly maxCandidateMessagesPerSecond: number
  readonly maxClientIdChars: number
  /** Live sessions of one limb: half-open ones of a device whose client id is another after each start. */
  readonly maxSessionsPerLimb: number
  /** The time that the core may take to decide about a CONNECT. */
  readonly admissionTimeoutMs: number
  /** Unsent bytes of one session above which it is ended: a persistent one finds its messages when it returns. */
  readonly maxSessionQueueBytes: number
  /** Unsent bytes of one session above which it gets no answers that another session asked for. */
  readonly maxUnaskedBytes: number
  /** A peer that takes nothing for so long is gone. */
  readonly drainTimeoutMs: number
  /** Messages that wait for the store. At the bound they are delivered without waiting. */
  readonly maxRouteQueue: number
  /** The bytes of messages that wait for the store. Beyond, who sends them is read later. */
  readonly maxRouteBytes: number
  /** The time that a message waits for the store before it is delivered all the same. */
  readonly storeTimeoutMs: number
  /** The time that a session may take to send what is waiting before it is closed. */
  readonly flushTimeoutMs: number
  readonly maxWillBytes: number
}

export type BrokerLimits = ConfiguredLimits & FixedLimits

const MIB = 1024 * 1024

export const FIXED_LIMITS: Readonly<FixedLimits> = {
  maxCandidatePacketBytes: 32 * 1024,
  partialPacketMs: 10_000,
  wholePacketMs: 30_000,
  maxCandidateUnsentBytes: 16 * 1024,
  maxCandidateInflight: 16,
  maxLocalPacketBytes: 16 * MIB,
  maxCandidateMessagesPerSecond: 10,
  maxClientIdChars: 128,
  maxSessionsPerLimb: 16,
  admissionTimeoutMs: 10_000,
  maxSessionQueueBytes: 8 * MIB,
  maxUnaskedBytes: 256 * 1024,
  drainTimeoutMs: 8_000,
  maxRouteQueue: 50_000,
  maxRouteBytes: 32 * MIB,
  storeTimeoutMs: 2_000,
  flushTimeoutMs: 1_000,
  maxWillBytes: 4096,
}
