import { Ajv, type ValidateFunction } from 'ajv'
import formats from 'ajv-formats'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asyncapiDocument } from '../../scripts/asyncapi.ts'
import { EVENTS } from '../../src/protocol/events.ts'
import { VERBS } from '../../src/protocol/verbs.ts'
import { keyOf, REGISTRATION, startApp, type TestApp } from '../support/app.ts'
import type { Received, TestClient } from '../support/client.ts'
import { send, worker } from '../support/worker.ts'

/**
 * A running bridge says only what its documents say: whatever comes over the wire in a walk through all verbs
 * is checked against the AsyncAPI document, in which a key that is not described is an error here.
 */

type Json = Record<string, unknown>

/** The document with every object closed. */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed)
  if (typeof value !== 'object' || value === null) return value
  const copy = Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, closed(inner)]))
  const isObjectSchema = copy.type === 'object' && copy.properties !== undefined
  return isObjectSchema && copy.additionalProperties === undefined
    ? { ...copy, additionalProperties: false }
    : copy
}

const document = asyncapiDocument()
const components = closed(document.components) as { messages: Record<string, { payload: Json }> }
const ajv = new Ajv({ strict: false, allErrors: true })
formats.default(ajv)

interface CheckedChannel {
  pattern: RegExp
  messages: { name: string; text: boolean; validate: ValidateFunction }[]
}

const channels: CheckedChannel[] = Object.values(document.channels).map(({ address, messages }) => ({
  pattern: new RegExp(`^${address.replace(/\{path\}/g, '.+').replace(/\{\w+\}/g, '[^/]+')}$`),
  messages: Object.keys(messages).map((name) => {
    const message = components.messages[name] as { payload: Json; contentType?: string }
    const text = message.contentType === 'text/plain'
    return { name, text, validate: ajv.compile({ ...message.payload, components }) }
  }),
}))

/** The name of the message in the document, or what is wrong with it. */
function nameOf({ topic, text }: Received): string {
  const found = channels.filter(({ pattern }) => pattern.test(topic))
  if (found.length !== 1) return `${topic}: ${found.length} channels`
  const problems: unknown[] = []
  for (const message of found[0]?.messages ?? []) {
    if (message.text !== !text.startsWith('{')) continue
    if (message.validate(message.text ? text : JSON.parse(text))) return message.name
    problems.push(message.validate.errors?.map((error) => `${error.instancePath} ${error.message}`))
  }
  return `${topic} ${text}: ${JSON.stringify(problems)}`
}

describe('a running bridge', () => {
  let app: TestApp & AsyncDisposable
  let admin: TestClient
  const heard: Received[] = []

  function listen(client: TestClient): TestClient {
    client.mqtt.on('message', (topic, payload, packet) => {
      const text = payload.toString()
      heard.push({ topic, text, retain: packet.retain, qos: packet.qos, json: {} })
    })
    return client
  }

  beforeAll(async () => {
    // Nothing listens there: the answer is one all the same.
    app = await startApp({
      webhooks: [{ name: 'hook', url: 'http://127.0.0.1:9/', secret: `whsec_${'A'.repeat(32)}` }],
    })
    admin = listen(await app.admin())
    const everything = ['limb/bridge/#', 'limb/node/+/status', 'limb/node/+/state', 'limb/node/+/data/#']
    await admin.subscribe([...everything, 'limb/principal/admin/response/#'])
  })

  afterAll(async () => {
    await app[Symbol.asyncDispose]()
  })

  async function candidate(nodeId: string, registration: object, key?: string): Promise<TestClient> {
    const device = listen(await app.device(nodeId, key))
    await device.subscribe(`limb/node/${nodeId}/pairing`)
    await device.publish(`limb/node/${nodeId}/register`, registration)
    return device
  }
  const answerTo = async (device: TestClient, nodeId: string) =>
    (await device.next(`limb/node/${nodeId}/pairing`)).json

  async function pairAndChange(): Promise<void> {
    const camera = await candidate('cam1', { ...REGISTRATION, endpointUrl: 'http://192.0.2.1/' })
    const pending = await answerTo(camera, 'cam1')
    const rival = await candidate('cam1', REGISTRATION, keyOf('cam1'))
    await answerTo(rival, 'cam1')
    await admin.do('admin', 'pairing/list')
    await admin.do('admin', 'pairing/approve', { requestId: pending.requestId, revision: 1 })
    await answerTo(camera, 'cam1')
    await camera.publish('limb/node/cam1/heartbeat')
    await camera.publish('limb/node/cam1/heartbeat', {
      status: 'busy',
      unavailable: ['camera'],
      metrics: { temperature: 21.5 },
    })
    // More often than it is told, however slow the machine: nobody waits in between.
    const changes = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? 'busy' : 'online'))
    await Promise.all(changes.map((status) => camera.publish('limb/node/cam1/heartbeat', { status })))
    await camera.publish('limb/node/cam1/heartbeat', { status: 'asleep' })
    await answerTo(camera, 'cam1')
    await camera.publish('limb/node/cam1/data/temperature', '21.5', { qos: 1, retain: true })
    const wider = [...REGISTRATION.capabilities, { cap: 'arm', commands: [], authLevel: 'gated' }]
    await camera.publish('limb/node/cam1/register', { ...REGISTRATION, capabilities: wider })
    const { awaiting } = await answerTo(camera, 'cam1')
    await admin.do('admin', 'pairing/reject', { requestId: awaiting })
    await camera.publish('limb/node/cam1/deregister')
    await camera.publish('limb/node/cam1/register', { displayName: 7 })
    await admin.do('admin', 'node/rename', { nodeId: 'cam1', displayName: 'Door' })
    await admin.do('admin', 'node/list', { limit: 1 })
    await admin.do('admin', 'node/get', { nodeId: 'cam1' })
    await admin.do('admin', 'node/history', { nodeId: 'cam1' })
    await admin.do('admin', 'node/why', { nodeId: 'cam1' })
    await admin.do('admin', 'backup/create')
    await admin.do('admin', 'backup/list')
    await admin.do('admin', 'webhook/list')
    await admin.do('admin', 'webhook/test', { name: 'hook' })
    await admin.do('admin', 'bridge/doctor')
    await admin.do('admin', 'bridge/log', { limit: 5 })
    await admin.do('admin', 'bridge/health')
    await admin.do('admin', 'node/rotate-key', { nodeId: 'cam1' })
  }

  async function permitAndProvision(): Promise<void> {
    await admin.do('admin', 'pairing/permit', { seconds: 60, max: 5, nodeId: 'cam2' })
    const second = await candidate('cam2', REGISTRATION)
    expect(await answerTo(second, 'cam2')).toMatchObject({ status: 'approved', apiKey: expect.any(String) })
    await admin.do('admin', 'pairing/permit', { seconds: 0 })
    await admin.do('admin', 'node/provision', { nodeId: 'cam3' })
    await admin.do('admin', 'node/import', {
      nodes: [{ nodeId: 'cam4' }, { nodeId: 'cam5', apiKey: keyOf('cam5') }],
    })
  }

  async function policiesAndPrincipals(): Promise<void> {
    const policy = { principal: 'ada', nodeId: 'cam1', capability: '*' }
    await admin.do('admin', 'policy/set', { ...policy, level: 'gated' })
    await admin.do('admin', 'policy/list')
    await admin.do('admin', 'policy/explain', { ...policy, capability: 'camera' })
    await admin.do('admin', 'policy/explain', { principal: 'bob', nodeId: 'cam1', capability: 'camera' })
    await admin.do('admin', 'policy/delete', policy)
    await admin.do('admin', 'principal/add', { name: 'ada', role: 'viewer' })
    await admin.do('admin', 'principal/add', { name: 'bob', role: 'agent', password: 'long enough' })
    await admin.do('admin', 'principal/list')
    const { tokenId } = await admin.do('admin', 'token/add', { name: 'phone', principal: 'ada' })
    await admin.do('admin', 'token/list', { principal: 'ada' })
    await app.principal('bob', 'long enough')
    const { items: sessions } = await admin.do('admin', 'session/list', { name: 'bob' })
    await admin.do('admin', 'session/forget', { name: 'bob', clientId: sessions[0].clientId })
    await admin.do('admin', 'token/remove', { tokenId })
    await expect(app.principal('bob', 'wrong password')).rejects.toThrow()
    await admin.do('admin', 'principal/set-password', { name: 'ada' })
    await admin.do('admin', 'principal/remove', { name: 'ada' })
    await admin.do('admin', 'node/set', { nodeId: 'cam1', presence: 'activity', area: 'Hall' })
    await admin.do('admin', 'node/describe', { nodeId: 'cam1', description: { model: 'C1' } })
    await admin.do('admin', 'node/thing', { nodeId: 'cam1' })
    await admin.do('admin', 'node/revoke', { nodeId: 'cam1' })
    await admin.do('admin', 'pairing/list', { state: 'refused' })
    await admin.do('admin', 'pairing/forgive', { nodeId: 'cam1' })
    await admin.ask('admin', 'node/get', { nodeId: 'nobody' })
    await admin.ask('admin', 'node/get', { nodeId: '' })
    await admin.publish('limb/principal/admin/request/node/get', { nodeId: 'cam2', transaction: 7 })
    await admin.next(({ json }) => json.transaction === 7)
  }

  async function controlPlane(): Promise<void> {
    const robot = await worker(app, 'r1')
    listen(robot.client)
    await admin.do('admin', 'principal/add', { name: 'eve', role: 'agent', password: 'eve-password' })
    const eve = listen(await app.principal('eve', 'eve-password'))
    await eve.subscribe('limb/principal/eve/response/#')
    const { leaseId } = await eve.do('eve', 'lease/acquire', { nodeId: 'r1', capability: 'arm' })
    await eve.do('eve', 'lease/renew', { leaseId })
    await admin.do('admin', 'lease/list')
    await admin.ask('admin', 'invoke', { nodeId: 'r1', command: 'arm.move' })
    await eve.do('eve', 'lease/release', { leaseId })
    const moved = await send(eve, 'eve', 'invoke', { nodeId: 'r1', command: 'arm.move', idempotencyKey: 'm' })
    await robot.answer(await robot.next())
    await moved()
    const failed = await send(eve, 'eve', 'invoke', { capability: 'camera', command: 'camera.snap' })
    await robot.answer(await robot.next(), { success: false, error: { message: 'dark' } })
    await failed()
    const slow = await send(eve, 'eve', 'invoke', { nodeId: 'r1', command: 'camera.snap', timeoutSeconds: 1 })
    const late = await robot.next()
    await slow()
    await robot.answer(late)
    const { invocationId } = late
    await expect
      .poll(async () => (await admin.do('admin', 'invocation/get', { invocationId })).late)
      .toBeDefined()
    const ask = async () => {
      await send(eve, 'eve', 'invoke', { nodeId: 'r1', command: 'saw.cut', params: { depth: 3 } })
      const shown = await admin.next(({ topic, text }) => topic.includes('/approval/') && text !== '')
      return { invocationId: shown.json.invocationId as string }
    }
    await admin.do('admin', 'invocation/deny', { ...(await ask()), reason: 'not now' })
    const waiting = await ask()
    await admin.do('admin', 'invocation/get', waiting)
    await admin.do('admin', 'invocation/approve', { ...waiting, reason: 'now' })
    await robot.answer(await robot.next())
    await admin.next(({ topic, text }) => topic.endsWith(waiting.invocationId) && text === '')
    await admin.do('admin', 'invocation/cancel', await ask())
    await admin.do('admin', 'invocation/list')
    await admin.do('admin', 'principal/set-role', { name: 'eve', role: 'operator' })
    await admin.do('admin', 'audit/list', { limit: 1000 })
    await admin.do('admin', 'audit/verify')
    await admin.do('admin', 'node/revoke', { nodeId: 'r1' })
  }

  it('says in a walk through all verbs nothing but what docs/asyncapi.yaml describes', async () => {
    await pairAndChange()
    await permitAndProvision()
    await policiesAndPrincipals()
    await controlPlane()
    // `info` follows a little later than what it tells of.
    await admin.next(({ topic, json }) => topic === 'limb/bridge/info' && json.nodes.approved === 4)

    const told = heard.map((message) => ({ name: nameOf(message), topic: message.topic }))
    const named = new Set(told.map(({ name }) => name))
    const known = new Set(Object.keys(components.messages))
    expect([...named].filter((name) => !known.has(name))).toEqual([])

    const missing = Object.keys(VERBS).filter(
      (verb) => !told.some(({ name, topic }) => topic.endsWith(`/response/${verb}`) && name !== 'refusal'),
    )
    expect(missing).toEqual([])
    // An expiry takes a day.
    expect(Object.keys(EVENTS).filter((kind) => !named.has(kind))).toEqual([
      'pairing_expired',
      'limb_replaced',
      // A disk has to fail.
      'backup_failed',
    ])
    for (const name of [
      'pairingAnswer',
      'stateCleared',
      'statusCleared',
      'requestDecided',
      'approvalDecided',
      'invocation',
      'refusal',
    ]) {
      expect(named).toContain(name)
    }
  })

  it('tells a secret to nobody but who is to have it', () => {
    const open = heard.filter(
      ({ topic }) => topic.startsWith('limb/bridge/') || /\/(status|state)$/.test(topic),
    )
    expect(open.filter(({ text }) => /"(?:apiKey|password|key|(?!params)\w*hash)":/i.test(text))).toEqual([])
  })
})
