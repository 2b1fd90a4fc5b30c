/**
 * The clauses that `device check` looks at: what docs/protocol/limbs.md asks of a limb that speaks MQTT. A clause that must
 * hold makes the check fail; one that should hold is advice.
 */

export interface Clause {
  readonly id: string
  /** False: breaking it is advice, not a mistake. */
  readonly must: boolean
  /** The sentence that a maker reads. */
  readonly text: string
  /** The heading in docs/protocol/limbs.md under which it stands. */
  readonly section: string
}

const SHORT = 'The short version'
const ANSWERS = 'What the bridge answers'
const REGISTER = 'What you register'
const INVOKE = 'Answering invocations'

export const CLAUSES = [
  {
    id: 'connect.name',
    must: true,
    section: SHORT,
    text: 'The user name is the nodeId.',
  },
  {
    id: 'connect.client-id',
    must: false,
    section: SHORT,
    text: 'The client id is the nodeId too.',
  },
  {
    id: 'connect.key',
    must: true,
    section: SHORT,
    text: 'The password is a key of 20 to 256 characters that the device made itself, or none before it was told one.',
  },
  {
    id: 'connect.same-key',
    must: true,
    section: SHORT,
    text: 'The key is stored: each connection comes with the same one.',
  },
  {
    id: 'connect.keepalive',
    must: false,
    section: 'Presence',
    text: 'The keepalive is 10 to 300 seconds, so that both sides notice a lost connection.',
  },
  {
    id: 'subscribe.first',
    must: false,
    section: SHORT,
    text: 'It subscribes to `pairing` before it registers.',
  },
  {
    id: 'subscribe.own',
    must: true,
    section: SHORT,
    text: 'It subscribes to nothing but topics of its own.',
  },
  {
    id: 'register.sent',
    must: true,
    section: SHORT,
    text: 'It publishes `register` after every connect.',
  },
  {
    id: 'register.valid',
    must: true,
    section: REGISTER,
    text: 'Its `register` follows the schema.',
  },
  {
    id: 'register.once',
    must: true,
    section: ANSWERS,
    text: 'It registers once for each connection, and not over and over.',
  },
  {
    id: 'register.qos',
    must: false,
    section: SHORT,
    text: '`register` is sent at QoS 1, and not retained.',
  },
  {
    id: 'pending.waits',
    must: true,
    section: ANSWERS,
    text: 'While its request is pending, it stays connected and waits.',
  },
  {
    id: 'invoke.subscribed',
    must: true,
    section: SHORT,
    text: 'It is subscribed to `invoke` once it is approved.',
  },
  {
    id: 'invoke.qos',
    must: false,
    section: SHORT,
    text: 'It subscribes to `pairing` and `invoke` at QoS 1.',
  },
  {
    id: 'heartbeat.first',
    must: true,
    section: SHORT,
    text: 'It sends a heartbeat as soon as it is approved.',
  },
  {
    id: 'heartbeat.pace',
    must: true,
    section: 'Presence',
    text: 'It sends a heartbeat every `heartbeatSeconds` of the answer `approved`, whatever it registered.',
  },
  {
    id: 'heartbeat.valid',
    must: true,
    section: 'Presence',
    text: 'Its heartbeats are empty, or follow the schema.',
  },
  {
    id: 'heartbeat.retained',
    must: false,
    section: 'Presence',
    text: 'Its heartbeats are not retained.',
  },
  {
    id: 'invoke.answered',
    must: true,
    section: INVOKE,
    text: 'It answers an invocation on `result`, before the deadline.',
  },
  {
    id: 'invoke.result',
    must: true,
    section: INVOKE,
    text: 'Its `result` follows the schema and repeats the `invocationId`.',
  },
  {
    id: 'invoke.result-qos',
    must: false,
    section: SHORT,
    text: '`result` is sent at QoS 1, and not retained.',
  },
  {
    id: 'invoke.once',
    must: true,
    section: INVOKE,
    text: 'An invocation that comes twice is done once.',
  },
  {
    id: 'invoke.error',
    must: false,
    section: INVOKE,
    text: 'Params that it cannot use are answered with `"success": false` and an `error` that says what to do.',
  },
  {
    id: 'invoke.fence',
    must: true,
    section: INVOKE,
    text: 'It refuses an invocation with a lower `fence` than it has seen for that capability.',
  },
  {
    id: 'publish.own',
    must: true,
    section: 'Pairing',
    text: 'It publishes on its own topics alone: `register`, `heartbeat`, `result`, `deregister`, `data/…`.',
  },
  {
    id: 'data.described',
    must: true,
    section: 'Describe yourself',
    text: 'The values that it publishes are what it says of them in `properties`.',
  },
  {
    id: 'reconnect.again',
    must: true,
    section: SHORT,
    text: 'After a lost connection it comes back by itself.',
  },
  {
    id: 'reconnect.paused',
    must: true,
    section: SHORT,
    text: 'It waits before it tries again: half a second at least.',
  },
  {
    id: 'reconnect.grows',
    must: false,
    section: SHORT,
    text: 'The pauses grow while the bridge is away: 1, 2, 4 … 30 seconds, each times 0.5 to 1.5 at random.',
  },
  {
    id: 'reconnect.registers',
    must: true,
    section: SHORT,
    text: 'After a reconnect it registers, subscribes and sends a heartbeat again.',
  },
  {
    id: 'reconnect.silent',
    must: false,
    section: 'Presence',
    text: 'It notices a bridge that no longer answers within two and a half keepalives.',
  },
  {
    id: 'key.rotated',
    must: true,
    section: 'After the approval',
    text: 'A new key in the answer is stored, and used at the next connection.',
  },
  {
    id: 'rejected.waits',
    must: false,
    section: ANSWERS,
    text: 'After `rejected` it tries again after minutes, not seconds.',
  },
] as const satisfies readonly Clause[]

export type ClauseId = (typeof CLAUSES)[number]['id']

export const CLAUSE_BY_ID: ReadonlyMap<ClauseId, Clause> = new Map(CLAUSES.map((each) => [each.id, each]))
