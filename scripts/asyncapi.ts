import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { configSchema } from '../src/host/config/schema.ts'
import { CHANNELS, type ChannelEntry, type MessageEntry, PARAMETERS } from './asyncapi-channels.ts'
import { jsonSchemas } from './asyncapi-schemas.ts'

/** `docs/asyncapi.yaml`: protocol.md for machines (AsyncAPI 3.0), from the bridge's point of view. */

/** The MQTT binding that knows MQTT 5. */
const BINDING = { bindingVersion: '0.2.0' }

const ref = (path: string) => ({ $ref: `#/${path}` })
const pointer = (text: string) => text.replaceAll('~', '~0').replaceAll('/', '~1')
const operationName = ({ action }: ChannelEntry, channel: string) =>
  `${action}${channel[0]?.toUpperCase()}${channel.slice(1)}`

function mapped<T, R>(table: Readonly<Record<string, T>>, make: (entry: T, key: string) => R) {
  return Object.fromEntries(Object.entries(table).map(([key, entry]) => [key, make(entry, key)]))
}

function message({ payload, summary, text, correlated, properties }: MessageEntry, name: string) {
  return {
    name,
    summary,
    contentType: text ? 'text/plain' : 'application/json',
    ...(correlated ? { correlationId: { location: '$message.payload#/transaction' } } : {}),
    ...(properties === undefined ? {} : { bindings: { mqtt: { ...properties, ...BINDING } } }),
    payload: typeof payload === 'string' ? ref(`components/schemas/${payload}`) : payload,
  }
}

function parametersOf(address: string) {
  const names = [...address.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? '')
  if (names.length === 0) return {}
  return {
    parameters: Object.fromEntries(names.map((name) => [name, ref(`components/parameters/${name}`)])),
  }
}

function channel({ address, summary, messages, planned }: ChannelEntry) {
  return {
    address,
    summary,
    ...(planned ? { description: 'Not in this version yet.' } : {}),
    ...parametersOf(address),
    messages: mapped(messages, (_entry, name) => ref(`components/messages/${name}`)),
  }
}

function operation(entry: ChannelEntry, key: string) {
  const { action, summary, qos, retain, expiry, reply, role, planned } = entry
  const messageExpiry = expiry === undefined ? {} : { messageExpiryInterval: expiry }
  const answers = reply === undefined ? undefined : CHANNELS[reply]
  return {
    action,
    channel: ref(`channels/${key}`),
    summary,
    ...(planned ? { description: 'Not in this version yet.', tags: [{ name: 'planned' }] } : {}),
    bindings: { mqtt: { qos, retain, ...messageExpiry, ...BINDING } },
    messages: Object.keys(entry.messages).map((name) => ref(`channels/${key}/messages/${pointer(name)}`)),
    ...(answers === undefined
      ? {}
      : {
          reply: {
            channel: ref(`channels/${reply}`),
            messages: Object.keys(answers.messages).map((name) =>
              ref(`channels/${reply}/messages/${pointer(name)}`),
            ),
          },
        }),
    ...(role === undefined ? {} : { 'x-limb-role': role }),
  }
}

/** Returns the version of the package. */
export function version(): string {
  const file = join(import.meta.dirname, '../package.json')
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

/** What a client of MQTT 5 may ask for at CONNECT, as configured without a configuration. */
function serverBindings() {
  const { sessionExpirySeconds, maxKeepaliveSeconds } = configSchema.parse({}).mqtt
  const sessionExpiryInterval = {
    type: 'integer',
    minimum: 0,
    maximum: sessionExpirySeconds,
    description: 'CONNACK says how long the session lasts when the client asked for longer.',
  }
  return { mqtt: { keepAlive: maxKeepaliveSeconds, sessionExpiryInterval, ...BINDING } }
}

export function asyncapiDocument() {
  const bindings = serverBindings()
  const messages: Record<string, MessageEntry> = {}
  for (const entry of Object.values(CHANNELS)) Object.assign(messages, entry.messages)
  const security = [ref('components/securitySchemes/nameAndKey')]
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Limb Bridge',
      version: version(),
      description: [
        'Pairing, presence and access of devices over MQTT. docs/protocol.md tells the rules behind these',
        'messages. The topic root `limb` is a setting (`mqtt.topicRoot`). Unknown keys of limbs are ignored.',
      ].join('\n'),
      license: { name: 'MIT' },
    },
    defaultContentType: 'application/json',
    servers: {
      mqtt: {
        host: '127.0.0.1:1883',
        protocol: 'mqtt',
        protocolVersion: '5',
        description: 'MQTT over TCP, as configured without a configuration; MQTT 3.1.1 and 3.1 too.',
        security,
        bindings,
      },
      websocket: {
        host: '127.0.0.1:8083',
        pathname: '/mqtt',
        protocol: 'ws',
        protocolVersion: '5',
        description: 'MQTT over WebSocket, subprotocol `mqtt`; MQTT 3.1.1 and 3.1 too.',
        security,
        bindings,
      },
    },
    channels: mapped(CHANNELS, channel),
    operations: Object.fromEntries(
      Object.entries(CHANNELS).map(([key, entry]) => [operationName(entry, key), operation(entry, key)]),
    ),
    components: {
      schemas: jsonSchemas(),
      messages: mapped(messages, message),
      parameters: PARAMETERS,
      securitySchemes: {
        nameAndKey: {
          type: 'userPassword',
          description: [
            'A limb: its nodeId and its key. A principal: its name and password. A candidate: its nodeId and a key',
            'of its own, or no password at all, and the bridge makes a key.',
          ].join('\n'),
        },
      },
    },
  }
}

export function asyncapiYaml(): string {
  const head = '# Made from src/protocol/ by `npm run docs`; edits here are lost.\n'
  return head + stringify(asyncapiDocument(), { lineWidth: 110, aliasDuplicateObjects: false })
}
