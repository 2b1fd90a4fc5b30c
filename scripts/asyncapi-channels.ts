import { EVENTS, type EventKind } from '../src/protocol/events.ts'
import { NAME_PATTERN, STATUSES } from '../src/protocol/names.ts'
import { topicsOf } from '../src/protocol/topics.ts'
import { VERBS } from '../src/protocol/verbs.ts'
import { type JsonSchema, pascal, verbNames } from './asyncapi-schemas.ts'

/** The topics of protocol section 2 as a table: a channel each, who speaks on it, and what. */

export interface MessageEntry {
  readonly summary: string
  /** Name of a schema, or the payload itself for plain text. */
  readonly payload: string | JsonSchema
  readonly text?: boolean
  /** Carries `transaction`. */
  readonly correlated?: boolean
  /** The properties that it has in MQTT 5. */
  readonly properties?: MessageProperties
}

/** Properties of MQTT 5, as AsyncAPI's message binding has them. */
export interface MessageProperties {
  readonly responseTopic?: string | JsonSchema
  readonly correlationData?: JsonSchema
}

export interface ChannelEntry {
  readonly address: string
  /** From the bridge's point of view. */
  readonly action: 'send' | 'receive'
  readonly summary: string
  readonly qos: 0 | 1
  readonly retain: boolean
  /** Message expiry of MQTT 5, in seconds. */
  readonly expiry?: JsonSchema
  readonly messages: Readonly<Record<string, MessageEntry>>
  /** The channel on which the bridge answers. */
  readonly reply?: string
  /** The least role that may ask. */
  readonly role?: string
  /** In the contract, but not in this version. */
  readonly planned?: boolean
}

export const PARAMETERS: Readonly<Record<string, { description: string; enum?: string[] }>> = {
  nodeId: { description: `The authenticated name of the limb: ${NAME_PATTERN.source}` },
  principal: { description: `The authenticated name of the principal: ${NAME_PATTERN.source}` },
  path: { description: 'One level or more, chosen by the limb.' },
  requestId: { description: 'The pending request.' },
  invocationId: { description: 'The invocation that waits.' },
  kind: { description: 'What happened.', enum: Object.keys(EVENTS) },
}

const topics = topicsOf('limb')
const NODE = '{nodeId}'

const word = (words: readonly string[]): JsonSchema => ({ type: 'string', enum: [...words] })
const NOTHING: MessageEntry = { summary: 'Nothing.', payload: { type: 'string', maxLength: 0 }, text: true }
const CLEARED: MessageEntry = {
  summary: 'The retained message is cleared.',
  payload: { type: 'string', maxLength: 0 },
  text: true,
}
const json = (schema: string, summary: string): MessageEntry => ({ payload: schema, summary })
const correlated = (schema: string, summary: string, properties: MessageProperties): MessageEntry => ({
  payload: schema,
  summary,
  correlated: true,
  properties,
})

const INVOCATION_ID: JsonSchema = { type: 'string', description: 'The invocationId.' }
/** Any bytes, which come back as they are. */
const ANY_BYTES: JsonSchema = {
  type: 'string',
  contentEncoding: 'binary',
  description: 'Whatever the principal chose; the response has the same bytes.',
}
const OWN_RESPONSES: JsonSchema = {
  type: 'string',
  pattern: `^${topics.response('[^/]+', '')}.+$`,
  description: "Below the principal's own responses; a request with another one is denied.",
}

const NODE_CHANNELS: Record<string, ChannelEntry> = {
  register: {
    address: topics.node(NODE, 'register'),
    action: 'receive',
    summary: 'A limb, or a candidate, says what it is.',
    qos: 1,
    retain: false,
    messages: { registration: json('Registration', 'What a limb says of itself.') },
    reply: 'pairing',
  },
  heartbeat: {
    address: topics.node(NODE, 'heartbeat'),
    action: 'receive',
    summary: 'The limb is alive. QoS 0 or 1.',
    qos: 0,
    retain: false,
    messages: {
      heartbeat: json('Heartbeat', 'Alive, and how it is.'),
      emptyHeartbeat: { ...NOTHING, summary: 'Alive and online.' },
    },
  },
  deregister: {
    address: topics.node(NODE, 'deregister'),
    action: 'receive',
    summary: 'The limb says goodbye: it stays paired and goes offline.',
    qos: 1,
    retain: false,
    messages: { goodbye: NOTHING },
  },
  result: {
    address: topics.node(NODE, 'result'),
    action: 'receive',
    summary: 'The limb answers an invocation.',
    qos: 1,
    retain: false,
    messages: {
      invocationResult: {
        ...json('InvocationResult', 'How an invocation went.'),
        properties: { correlationData: INVOCATION_ID },
      },
    },
  },
  data: {
    address: `${topics.dataPrefix(NODE)}{path}`,
    action: 'receive',
    summary: "The limb's own telemetry, passed through to principals. Any QoS, retained or not.",
    qos: 0,
    retain: true,
    messages: { data: { summary: 'Whatever the limb sends.', payload: {}, text: true } },
  },
  pairing: {
    address: topics.node(NODE, 'pairing'),
    action: 'send',
    summary: "The answer to `register` and every later change, to that limb's own session only.",
    qos: 1,
    retain: false,
    messages: { pairingAnswer: json('PairingAnswer', 'Where the pairing stands.') },
  },
  invoke: {
    address: topics.node(NODE, 'invoke'),
    action: 'send',
    summary: 'An invocation for the limb.',
    qos: 1,
    retain: false,
    expiry: { type: 'integer', minimum: 1, description: 'The seconds that are left until its deadline.' },
    messages: {
      invocation: {
        ...json('Invocation', 'Run this command.'),
        properties: { responseTopic: topics.node(NODE, 'result'), correlationData: INVOCATION_ID },
      },
    },
  },
  status: {
    address: topics.node(NODE, 'status'),
    action: 'send',
    summary: 'The status of an approved limb, one plain word.',
    qos: 1,
    retain: true,
    messages: {
      status: { summary: 'The status.', payload: word(STATUSES), text: true },
      statusCleared: CLEARED,
    },
  },
  state: {
    address: topics.node(NODE, 'state'),
    action: 'send',
    summary: 'Everything about an approved limb.',
    qos: 1,
    retain: true,
    messages: { state: json('State', 'The limb as it is.'), stateCleared: CLEARED },
  },
  description: {
    address: topics.node(NODE, 'description'),
    action: 'send',
    summary: 'What an approved limb can do: its commands, and its properties.',
    qos: 1,
    retain: true,
    messages: { description: json('Description', 'What the limb can do.'), descriptionCleared: CLEARED },
  },
}

const BRIDGE_CHANNELS: Record<string, ChannelEntry> = {
  bridgeStatus: {
    address: topics.bridgeStatus,
    action: 'send',
    summary: 'Whether the bridge is there.',
    qos: 1,
    retain: true,
    messages: {
      bridgeStatus: { summary: 'The status.', payload: word(['online', 'offline']), text: true },
    },
  },
  bridgeInfo: {
    address: topics.bridgeInfo,
    action: 'send',
    summary: 'What the bridge is, and its fleet in numbers.',
    qos: 1,
    retain: true,
    messages: { bridgeInfo: json('BridgeInfo', 'Version, fleet, pairing window.') },
  },
  pendingRequest: {
    address: topics.pairingRequest('{requestId}'),
    action: 'send',
    summary: 'A request that waits for an operator; cleared when it is decided.',
    qos: 1,
    retain: true,
    messages: {
      pendingRequest: json('PendingRequest', 'The request, without any secret.'),
      requestDecided: CLEARED,
    },
  },
  approval: {
    address: topics.approval('{invocationId}'),
    action: 'send',
    summary: 'A gated invocation that waits for an operator; cleared when it is decided.',
    qos: 1,
    retain: true,
    messages: { approval: json('Approval', 'The invocation, with its params.'), approvalDecided: CLEARED },
  },
  event: {
    address: topics.event('{kind}'),
    action: 'send',
    summary: 'What just happened.',
    qos: 0,
    retain: false,
    messages: Object.fromEntries(
      (Object.keys(EVENTS) as EventKind[]).map((kind) => [
        kind,
        json(`Event${pascal(kind)}`, EVENTS[kind].summary),
      ]),
    ),
  },
}

const ASKS: MessageProperties = { responseTopic: OWN_RESPONSES, correlationData: ANY_BYTES }
const ANSWERS: MessageProperties = { correlationData: ANY_BYTES }

function verbChannels(): Record<string, ChannelEntry> {
  const channels: Record<string, ChannelEntry> = {}
  for (const verb of verbNames) {
    const { summary, role } = VERBS[verb]
    const name = pascal(verb)
    channels[`request${name}`] = {
      address: topics.request('{principal}', verb),
      action: 'receive',
      summary,
      qos: 1,
      retain: false,
      messages: { [`request${name}`]: correlated(`${name}Request`, summary, ASKS) },
      reply: `response${name}`,
      role,
    }
    channels[`response${name}`] = {
      address: topics.response('{principal}', verb),
      action: 'send',
      summary: `The answer to ${verb}.`,
      qos: 1,
      retain: false,
      messages: {
        [`response${name}`]: correlated(`${name}Response`, 'It is done.', ANSWERS),
        refusal: correlated('Refusal', 'It is refused, and nothing was changed.', ANSWERS),
      },
    }
  }
  return channels
}

export const CHANNELS: Readonly<Record<string, ChannelEntry>> = {
  ...NODE_CHANNELS,
  ...BRIDGE_CHANNELS,
  ...verbChannels(),
}
