/** Every bound of the broker that an operator may move, with its default and its reason. */
export interface BrokerLimits {
  maxConnections: number
  /** Not for loopback and the control socket: proxies and simulators come from there. */
  maxConnectionsPerAddress: number
  connectTimeoutMs: number
  /** A CONNECT: ids, password and a will are well below it. Nothing larger is read before sign-in. */
  maxConnectBytes: number
  /** A registration of 256 KiB and its topic. */
  maxCandidatePacketBytes: number
  /** A result of 1 MiB and a quarter. */
  maxPacketBytes: number
  /** The control socket takes imports of tens of thousands of nodes. */
  maxLocalPacketBytes: number
  /** A session that sends more than this is read more slowly: nothing is lost, TCP holds its sender back. */
  maxMessagesPerSecond: number
  maxBytesPerSecond: number
  /** A candidate registers and waits; each change that it registers reaches every operator. */
  maxCandidateMessagesPerSecond: number
  /** Of a topic or filter. */
  maxTopicBytes: number
  maxTopicLevels: number
  maxClientIdChars: number
  maxSubscriptions: number
  maxKeepaliveSeconds: number
  /** A client with keepalive 0 is never timed out by MQTT; only TCP's own probes find that it is gone. */
  allowKeepaliveZero: boolean
  /** How long the core may take to decide about a CONNECT. */
  admissionTimeoutMs: number
  /** Decisions under way at once; each may cost a password hash of 60 ms and 32 MiB. */
  maxAdmissions: number
  maxWaitingAdmissions: number
  /** Unsent bytes of one session above which its QoS 0 messages are shed. */
  maxSessionBufferBytes: number
  /** Unsent bytes of one session above which it is ended: a persistent one finds its messages when it returns. */
  maxSessionQueueBytes: number
  /** QoS 1 and 2 messages that a session has not acknowledged; the next ones wait. */
  maxInflightOutbound: number
  /** QoS 2 packet identifiers of one session that wait for PUBREL; beyond it the session ends. */
  maxInflightInbound: number
  /** A peer that takes nothing for so long is gone. */
  drainTimeoutMs: number
  /** Messages that wait for the store. At the bound they are delivered without waiting. */
  maxRouteQueue: number
  /** How long a message waits for the store before it is delivered all the same. */
  storeTimeoutMs: number
  /** How long a session may take to send what it was told before it is closed. */
  flushTimeoutMs: number
  maxWillBytes: number
}

const MIB = 1024 * 1024

export const DEFAULT_LIMITS: Readonly<BrokerLimits> = {
  maxConnections: 20_000,
  maxConnectionsPerAddress: 1_000,
  connectTimeoutMs: 10_000,
  maxConnectBytes: 4096,
  maxCandidatePacketBytes: 272 * 1024,
  maxPacketBytes: 1.25 * MIB,
  maxLocalPacketBytes: 16 * MIB,
  maxMessagesPerSecond: 2000,
  maxBytesPerSecond: 4 * MIB,
  maxCandidateMessagesPerSecond: 10,
  maxTopicBytes: 1024,
  maxTopicLevels: 32,
  maxClientIdChars: 128,
  maxSubscriptions: 256,
  maxKeepaliveSeconds: 3600,
  allowKeepaliveZero: false,
  admissionTimeoutMs: 10_000,
  maxAdmissions: 64,
  maxWaitingAdmissions: 20_000,
  maxSessionBufferBytes: MIB,
  maxSessionQueueBytes: 8 * MIB,
  maxInflightOutbound: 100,
  maxInflightInbound: 1000,
  drainTimeoutMs: 8_000,
  maxRouteQueue: 50_000,
  storeTimeoutMs: 2_000,
  flushTimeoutMs: 1_000,
  maxWillBytes: 4096,
}
