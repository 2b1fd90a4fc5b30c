import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { Ajv, type Options } from 'ajv'
import formats from 'ajv-formats'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { asyncapiYaml } from '../../scripts/asyncapi.ts'
import { EVENTS } from '../../src/protocol/events.ts'
import { topicsOf } from '../../src/protocol/topics.ts'
import { VERBS } from '../../src/protocol/verbs.ts'

interface Channel {
  address: string
  parameters?: Record<string, unknown>
  messages: Record<string, { $ref: string }>
}
interface Binding {
  bindings?: { mqtt: Record<string, unknown> }
}
interface Operation extends Binding {
  action: 'send' | 'receive'
  channel: { $ref: string }
  messages: { $ref: string }[]
  reply?: { channel: { $ref: string }; messages: { $ref: string }[] }
  'x-limb-role'?: string
}
interface Document {
  servers: Record<string, Binding>
  channels: Record<string, Channel>
  operations: Record<string, Operation>
  components: {
    schemas: Record<string, object>
    messages: Record<string, Binding & { payload: object }>
  }
}

const text = readFileSync(join(import.meta.dirname, '../../docs/asyncapi.yaml'), 'utf8')
const document = parse(text) as Document
const specification = createRequire(import.meta.url)('@asyncapi/specs/schemas/3.0.0.json') as object

function validator(more: Options = {}) {
  const ajv = new Ajv({ strict: false, allErrors: true, ...more })
  formats.default(ajv)
  return ajv
}

/** What a `#/a/b` reference points at. */
function lookUp(reference: string): unknown {
  return reference
    .slice(2)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], document)
}

const byAddress = (address: string) =>
  Object.values(document.channels).filter((channel) => channel.address === address)

/** Checks an example against a payload schema of the document. */
function accepts(schema: string, value: unknown): boolean {
  const check = validator().compile({
    $ref: `#/components/schemas/${schema}`,
    components: document.components,
  })
  return check(value) as boolean
}

describe('docs/asyncapi.yaml', () => {
  it('is what the code says; `npm run docs` writes it', () => {
    expect(text === asyncapiYaml()).toBe(true)
  })

  it('is an AsyncAPI 3.0 document', () => {
    // The specification brings draft 7 along itself.
    const validate = validator({ meta: false, validateSchema: false }).compile(specification)
    validate(document)
    expect(validate.errors ?? []).toEqual([])
  })

  it('has a target for every reference', () => {
    const references = [...text.matchAll(/\$ref: "?(#[^"\n]+)"?/g)].map((match) => match[1] ?? '')
    expect(references.length).toBeGreaterThan(100)
    expect([...new Set(references)].filter((reference) => lookUp(reference) === undefined)).toEqual([])
  })

  it('names only topics that the bridge knows, each once', () => {
    const topics = topicsOf('limb')
    const addresses = Object.values(document.channels).map((channel) => channel.address)
    const unknown = addresses.filter((address) => !topics.parse(address.replace(/\{(\w+)\}/g, '$1')))
    expect(unknown).toEqual([])
    expect(new Set(addresses).size).toBe(addresses.length)
  })

  it('describes every parameter of every address', () => {
    for (const { address, parameters = {} } of Object.values(document.channels)) {
      const named = [...address.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
      expect(Object.keys(parameters), address).toEqual(named)
    }
  })

  it('has an operation for every channel, and lists all of its messages', () => {
    for (const [key, channel] of Object.entries(document.channels)) {
      const operations = Object.values(document.operations).filter(
        (operation) => operation.channel.$ref === `#/channels/${key}`,
      )
      expect(operations, key).toHaveLength(1)
      expect(operations[0]?.messages).toHaveLength(Object.keys(channel.messages).length)
    }
  })

  it.each(Object.entries(VERBS))('has the request and the response of %s', (verb, { role }) => {
    const [request] = byAddress(`limb/principal/{principal}/request/${verb}`)
    const [response] = byAddress(`limb/principal/{principal}/response/${verb}`)
    expect(Object.keys(request?.messages ?? {})).toHaveLength(1)
    expect(Object.keys(response?.messages ?? {})).toContain('refusal')
    expect(Object.keys(response?.messages ?? {})).toHaveLength(2)
    const operation = Object.values(document.operations).find(
      (entry) => entry.reply !== undefined && lookUp(entry.channel.$ref) === request,
    )
    expect(operation?.action).toBe('receive')
    expect(operation?.['x-limb-role']).toBe(role)
    expect(lookUp(operation?.reply?.channel.$ref ?? '#/')).toBe(response)
  })

  it('says what MQTT 5 adds, in the binding that has it', () => {
    const { servers, operations, components } = document
    const bindingOf = ({ bindings }: Binding = {}) => bindings?.mqtt ?? {}
    for (const server of Object.values(servers)) {
      expect(bindingOf(server)).toMatchObject({ sessionExpiryInterval: { type: 'integer' } })
    }
    expect(bindingOf(operations.sendInvoke)).toMatchObject({ messageExpiryInterval: { minimum: 1 } })
    expect(bindingOf(components.messages.invocation).responseTopic).toBe('limb/node/{nodeId}/result')
    const asked = bindingOf(components.messages.requestNodeList).responseTopic
    const isOwn = validator().compile(asked as object)
    expect(['limb/principal/ann/response/x/1', 'limb/node/r1/invoke'].map((topic) => isOwn(topic))).toEqual([
      true,
      false,
    ])
    for (const name of ['invocation', 'invocationResult', 'requestNodeList', 'responseNodeList', 'refusal']) {
      expect(bindingOf(components.messages[name]).correlationData, name).toMatchObject({ type: 'string' })
    }
  })

  it('has a message for every kind of event', () => {
    const [channel] = byAddress('limb/bridge/event/{kind}')
    expect(Object.keys(channel?.messages ?? {})).toEqual(Object.keys(EVENTS))
  })

  it('has payload schemas that a foreign validator reads as the bridge does', () => {
    const registration = {
      displayName: 'Front camera',
      platform: 'esp32',
      capabilities: [{ cap: 'camera', commands: ['camera.snap'], authLevel: 'leased' }],
      somethingNewer: true,
    }
    expect(accepts('Registration', registration)).toBe(true)
    expect(accepts('Registration', { ...registration, heartbeatSeconds: 4 })).toBe(false)
    expect(accepts('Heartbeat', {})).toBe(true)
    expect(accepts('Heartbeat', { status: 'asleep' })).toBe(false)
    expect(accepts('PairingAnswer', { status: 'rejected' })).toBe(true)
    expect(
      accepts('PolicySetRequest', { principal: '*', nodeId: 'cam', capability: '*', level: 'free' }),
    ).toBe(true)
    expect(accepts('Refusal', { ok: false, error: { code: 'nonsense', message: 'x' } })).toBe(false)
    const event = { kind: 'node_revoked', at: '2026-01-02T03:04:05.006Z', nodeId: 'cam', by: 'ada' }
    expect(accepts('EventNodeRevoked', event)).toBe(true)
    expect(accepts('EventNodeRevoked', { ...event, kind: 'new' })).toBe(false)
  })

  it('gives every message a payload that is a JSON Schema', () => {
    const ajv = validator()
    for (const [name, message] of Object.entries(document.components.messages)) {
      expect(() => ajv.compile({ ...message.payload, components: document.components }), name).not.toThrow()
    }
  })
})
