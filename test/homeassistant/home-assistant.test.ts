import { describe, expect, it } from 'vitest'
import { REGISTRATION, startApp } from '../support/app.ts'
import type { Loose, TestClient } from '../support/client.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { needs } from '../support/needs.ts'
import { DISCOVERY_TOPIC, discoverySchema } from './discovery-schema.ts'

needs('mosquitto')

type App = Awaited<ReturnType<typeof startApp>>

const ROBOT = {
  ...REGISTRATION,
  displayName: 'Robot "A" é',
  capabilities: [
    { cap: 'lamp', commands: ['lamp.on', 'lamp.off'], authLevel: 'free' },
    { cap: 'arm', commands: ['arm.wave'], authLevel: 'leased' },
  ],
}
const LAMP = {
  ...REGISTRATION,
  capabilities: [
    {
      cap: 'lamp',
      commands: [{ name: 'lamp.set', input: { type: 'object', properties: { on: { type: 'boolean' } } } }],
      authLevel: 'free',
    },
  ],
  properties: [
    {
      name: 'power',
      topic: 'data/lamp',
      pointer: '/on',
      type: 'boolean',
      set: { command: 'lamp.set', param: 'on' },
    },
  ],
}
const CAM1 = 'homeassistant/device/limb_cam1/config'
const BRIDGE = 'homeassistant/device/limb__bridge/config'

/** Signs in as Home Assistant does: its own principal, its own filters, and says that it is there. */
async function startHomeAssistant(app: App, role = 'operator'): Promise<TestClient> {
  const admin = await app.admin()
  const { password } = await admin.do('admin', 'principal/add', { name: 'homeassistant', role })
  await admin.end()
  const client = await app.principal('homeassistant', password)
  expect(await client.subscribe(['homeassistant/+/+/config', 'homeassistant/status'], 0)).toEqual([0, 0])
  return client
}

/** The next discovery message on a topic, held against the documentation. */
async function discovery(client: TestClient, topic: string, wanted = (_: Loose) => true): Promise<Loose> {
  const { json } = await client.next((message) => message.topic === topic && wanted(message.json))
  expect(topic.replace(/^homeassistant\//, '')).toMatch(DISCOVERY_TOPIC)
  return discoverySchema.parse(json)
}

/** A limb that is online and takes calls. */
async function ready(limb: TestClient): Promise<TestClient> {
  await limb.subscribe('limb/node/cam1/invoke')
  await limb.publish('limb/node/cam1/heartbeat', { metrics: { load: 1 } })
  await limb.settle()
  return limb
}

async function answerOne(limb: TestClient, command: string): Promise<void> {
  const { json } = await limb.next('limb/node/cam1/invoke')
  expect(json).toMatchObject({ command, params: {}, principal: 'homeassistant' })
  await limb.publish('limb/node/cam1/result', { invocationId: json.invocationId, success: true })
}

const on = { homeAssistant: { enabled: true } }

describe('Home Assistant on the embedded broker', () => {
  it('finds each limb with what it is, what it says and what it can do', async () => {
    await using app = await startApp(on, { memory: true })
    const limb = await app.limb('cam1', ROBOT)
    const client = await startHomeAssistant(app)
    const first = await discovery(client, CAM1)
    expect(first.device).toEqual({
      identifiers: ['limb_cam1'],
      name: 'Robot "A" é',
      model: 'esp32',
      serial_number: 'cam1',
      sw_version: '1.2.0',
      via_device: 'limb__bridge',
    })
    expect(first.availability).toEqual([
      { topic: 'limb/bridge/status' },
      {
        topic: 'limb/node/cam1/status',
        value_template: "{{ 'offline' if value == 'offline' else 'online' }}",
      },
    ])
    expect(first.availability_mode).toBe('all')
    expect(Object.keys(first.components)).toEqual([
      'connectivity',
      'status',
      'last_seen',
      'command_lamp.on',
      'command_lamp.off',
    ])

    await limb.publish('limb/node/cam1/heartbeat', { metrics: { battery_percent: 80, 'cpu.load': 0.5 } })
    const { components } = await discovery(client, CAM1, (json) => json.components['metric_cpu.load'])
    expect(components.metric_battery_percent).toEqual({
      platform: 'sensor',
      name: 'Battery',
      unique_id: 'limb_cam1_metric_battery_percent',
      state_topic: 'limb/node/cam1/state',
      value_template: "{{ (value_json.metrics | default({}))['battery_percent'] | default('None') }}",
      device_class: 'battery',
      unit_of_measurement: '%',
      state_class: 'measurement',
      expire_after: 180,
    })
    const ids = Object.values(components as Record<string, Loose>).map((component) => component.unique_id)
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('has the bridge as a device, and its switch opens and closes the pairing window', async () => {
    await using app = await startApp(on, { memory: true })
    const client = await startHomeAssistant(app)
    const { components, device } = await discovery(client, BRIDGE)
    expect(device.identifiers).toEqual(['limb__bridge'])
    expect(components.pending.value_template).toBe('{{ value_json.nodes.pending }}')
    const { command_topic, state_topic, payload_on, payload_off } = components.pairing_window
    await client.subscribe(state_topic)
    await client.publish(command_topic, payload_on, { qos: 1 })
    await client.next(({ topic, json }) => topic === state_topic && json.pairingWindow !== undefined)
    await client.publish(command_topic, payload_off, { qos: 1 })
    await client.next(({ topic, json }) => topic === state_topic && json.pairingWindow === undefined)
  })

  it('presses a button, and the limb does it', async () => {
    await using app = await startApp(on, { memory: true })
    const limb = await ready(await app.limb('cam1', ROBOT))
    const client = await startHomeAssistant(app, 'agent')
    const { components } = await discovery(client, CAM1)
    const { command_topic, payload_press } = components['command_lamp.on']
    await client.subscribe('limb/principal/homeassistant/response/#')
    await client.publish(command_topic, payload_press, { qos: 1 })
    await answerOne(limb, 'lamp.on')
    const { json } = await client.next('limb/principal/homeassistant/response/invoke')
    expect(json.ok).toBe(true)
  })

  it('switches a described lamp, reads its data, and shows a correction of an operator at once', async () => {
    await using app = await startApp(on, { memory: true })
    const limb = await ready(await app.limb('cam1', LAMP))
    const client = await startHomeAssistant(app, 'agent')
    const { components } = await discovery(client, CAM1, (json) => json.components.property_power)
    const { platform, state_topic, command_topic, payload_on } = components.property_power
    expect(platform).toBe('switch')
    await client.subscribe([state_topic, 'limb/principal/homeassistant/response/#'])
    await client.publish(command_topic, payload_on, { qos: 1 })
    const { json: invoke } = await limb.next('limb/node/cam1/invoke')
    expect(invoke).toMatchObject({ command: 'lamp.set', params: { on: true }, principal: 'homeassistant' })
    await limb.publish(state_topic, '{"on": true}', { qos: 1, retain: true })
    expect((await client.next(state_topic)).json).toEqual({ on: true })

    const admin = await app.admin()
    const properties = [{ ...LAMP.properties[0], deviceClass: 'light' }]
    await admin.do('admin', 'node/describe', { nodeId: 'cam1', description: { properties } })
    const stub = await discovery(client, CAM1, (json) => json.components.property_power.platform === 'switch')
    expect(stub.components.property_power).toEqual({ platform: 'switch' })
    await discovery(client, CAM1, (json) => json.components.property_power.platform === 'light')
  })

  it('asks a person for a gated command, and the limb hears it after the approval', async () => {
    await using app = await startApp(on, { memory: true })
    const capabilities = [{ ...LAMP.capabilities[0], authLevel: 'gated' }]
    const limb = await ready(await app.limb('cam1', { ...LAMP, capabilities }))
    const client = await startHomeAssistant(app, 'agent')
    const { components } = await discovery(client, CAM1, (json) => json.components.property_power)
    const admin = await app.admin()
    await admin.subscribe('limb/bridge/approval/#')
    await client.publish(components.property_power.command_topic, components.property_power.payload_off, {
      qos: 1,
    })
    const { json } = await admin.next(({ topic, text }) => topic.includes('/approval/') && text !== '')
    expect(json).toMatchObject({ principal: 'homeassistant', command: 'lamp.set', params: { on: false } })
    await admin.do('admin', 'invocation/approve', { invocationId: json.invocationId })
    expect((await limb.next('limb/node/cam1/invoke')).json.params).toEqual({ on: false })
  })

  it('sees renaming, and what a limb no longer offers taken back before it is left out', async () => {
    await using app = await startApp(on, { memory: true })
    const limb = await app.limb('cam1', ROBOT)
    const client = await startHomeAssistant(app)
    await discovery(client, CAM1)
    const admin = await app.admin()
    await admin.do('admin', 'node/rename', { nodeId: 'cam1', displayName: 'Kitchen robot' })
    const renamed = await discovery(client, CAM1, (json) => json.device.name === 'Kitchen robot')
    expect(renamed.device.identifiers).toEqual(['limb_cam1'])

    await limb.publish('limb/node/cam1/register', {
      ...ROBOT,
      firmware: '2.0.0',
      capabilities: [{ cap: 'lamp', commands: ['lamp.on'], authLevel: 'free' }],
    })
    const stub = await discovery(client, CAM1, (json) => json.device.sw_version === '2.0.0')
    expect(stub.components['command_lamp.off']).toEqual({ platform: 'button' })
    const final = await discovery(client, CAM1)
    expect(final.components['command_lamp.off']).toBeUndefined()
    expect(final.components['command_lamp.on'].platform).toBe('button')
  })

  it('loses a command that is no more, also when somebody asks for the limb before that is told', async () => {
    await using app = await startApp(on, { memory: true })
    const limb = await app.limb('cam1', ROBOT)
    const client = await startHomeAssistant(app)
    await discovery(client, CAM1, (json) => json.components['command_lamp.off'])
    await limb.publish('limb/node/cam1/register', { ...ROBOT, capabilities: [] })
    await limb.settle()
    await client.subscribe(CAM1)
    const stub = await discovery(client, CAM1, (json) => json.components['command_lamp.off']?.platform)
    expect(stub.components['command_lamp.off']).toEqual({ platform: 'button' })
  })

  it('loses a limb that is revoked, at once and for who comes later', async () => {
    await using app = await startApp(on, { memory: true })
    await app.limb('cam1', ROBOT)
    const client = await startHomeAssistant(app)
    await discovery(client, CAM1)
    const admin = await app.admin()
    await admin.do('admin', 'node/revoke', { nodeId: 'cam1' })
    expect((await client.next(({ topic, text }) => topic === CAM1 && text === '')).text).toBe('')
    await client.mqtt.unsubscribeAsync('homeassistant/+/+/config')
    await client.subscribe('homeassistant/+/+/config')
    await discovery(client, BRIDGE)
    await client.settle()
    expect(client.waiting.filter(({ topic, retain }) => topic === CAM1 && retain)).toEqual([])
  })

  it('is told everything again after its birth, the bridge first', async () => {
    await using app = await startApp(on, { memory: true })
    await app.limb('cam1', ROBOT)
    const client = await startHomeAssistant(app)
    await client.publish('homeassistant/status', 'online', { qos: 0, retain: true })
    // The bridge changes nothing by itself: it is told only now.
    const live: string[] = []
    client.mqtt.on('message', (topic, _payload, { retain }) => {
      if (!retain && (topic === BRIDGE || live.length > 0)) live.push(topic)
    })
    await client.next(({ topic, retain }) => topic === BRIDGE && !retain)
    await client.next(() => live.includes(CAM1))
    expect(live[0]).toBe(BRIDGE)
  })

  it('finds the same devices after a restart, and nothing of it is stored', async () => {
    await using app = await startApp(on)
    await app.limb('cam1', ROBOT)
    await app.restart()
    const client = await startHomeAssistant(app)
    const { device } = await discovery(client, CAM1)
    expect(device.identifiers).toEqual(['limb_cam1'])
    expect(await client.subscribe('homeassistant/device/limb_cam1/config')).toEqual([1])
    await discovery(client, CAM1)
  })

  it('may not read or write outside of its own prefix what its role does not grant', async () => {
    await using app = await startApp(on, { memory: true })
    const client = await startHomeAssistant(app, 'viewer')
    expect(await client.subscribe(['zigbee2mqtt/#', 'limb/principal/admin/response/#'])).toEqual([128, 128])
  })

  it('cannot leave a message in the place of a discovery message', async () => {
    await using app = await startApp(on, { memory: true })
    await app.limb('cam1', ROBOT)
    const client = await startHomeAssistant(app)
    // What Home Assistant publishes when somebody deletes the device there.
    await client.publish(CAM1, '', { qos: 1, retain: true })
    await client.subscribe(CAM1)
    await discovery(client, CAM1)
  })

  it('finds nothing unless it is turned on', async () => {
    await using app = await startApp({}, { memory: true })
    await app.limb('cam1', ROBOT)
    const admin = await app.admin()
    const { password } = await admin.do('admin', 'principal/add', { name: 'homeassistant', role: 'operator' })
    const client = await app.principal('homeassistant', password)
    expect(await client.subscribe('homeassistant/#')).toEqual([128])
  })
})

describe('Home Assistant on another broker', () => {
  it('finds the limbs through an uplink, and can press its buttons there', async () => {
    await using broker = await startMosquitto()
    await using app = await startApp({
      uplinks: [
        {
          name: 'home',
          url: `mqtt://127.0.0.1:${broker.port}`,
          prefix: 'site1/limbs',
          homeAssistant: true,
          requests: { principals: ['homeassistant'] },
        },
      ],
    })
    const admin = await app.admin()
    await admin.do('admin', 'principal/add', { name: 'homeassistant', role: 'operator' })
    const limb = await ready(await app.limb('cam1', ROBOT))
    const there = await broker.client()
    await there.subscribe(['homeassistant/+/+/config', 'site1/limbs/bridge/info', 'site1/limbs/principal/#'])
    const topic = 'homeassistant/device/site1_limbs_cam1/config'
    const found = await discovery(there, topic, (json) => json.components.metric_load)
    expect(found.availability.map((each: Loose) => each.topic)).toEqual([
      'site1/limbs/bridge/status',
      'site1/limbs/node/cam1/status',
    ])
    const bridge = await discovery(there, 'homeassistant/device/site1_limbs__bridge/config')
    const { command_topic, state_topic, payload_on } = bridge.components.pairing_window
    expect(command_topic).toBe('site1/limbs/principal/homeassistant/request/pairing/permit')
    await there.publish(command_topic, payload_on)
    await there.next((message) => message.topic === state_topic && message.json.pairingWindow !== undefined)

    const button = found.components['command_lamp.off']
    await there.publish(button.command_topic, button.payload_press)
    await answerOne(limb, 'lamp.off')
    const answer = await there.next('site1/limbs/principal/homeassistant/response/invoke')
    expect(answer.json.ok).toBe(true)

    await there.publish('homeassistant/status', 'online')
    await discovery(there, topic)
    await admin.do('admin', 'node/revoke', { nodeId: 'cam1' })
    await there.next((message) => message.topic === topic && message.text === '')
  })

  it('has no buttons where no requests are taken, and loses only leftovers of this bridge', async () => {
    await using broker = await startMosquitto()
    const before = await broker.client()
    const ours = JSON.stringify({ device: {}, origin: { name: 'Limb Bridge' }, components: {} })
    const others = JSON.stringify({ device: {}, origin: { name: 'other2mqtt' }, components: {} })
    const publish = (id: string, text: string) =>
      before.publish(`homeassistant/device/${id}/config`, text, { qos: 1, retain: true })
    await publish('site1_ghost', ours)
    await publish('site1_other', others)
    await publish('site2_ghost', ours)
    await before.subscribe('homeassistant/#')
    await using app = await startApp({
      uplinks: [
        { name: 'home', url: `mqtt://127.0.0.1:${broker.port}`, prefix: 'site1', homeAssistant: true },
      ],
    })
    await app.limb('cam1', ROBOT)
    await before.next(({ topic, text }) => topic.includes('site1_ghost') && text === '')
    const { components } = await discovery(before, 'homeassistant/device/site1_cam1/config')
    expect(Object.keys(components)).toEqual(['connectivity', 'status', 'last_seen'])
    const left = [...(await broker.retained('homeassistant/#')).keys()].sort()
    expect(left).toEqual([
      'homeassistant/device/site1__bridge/config',
      'homeassistant/device/site1_cam1/config',
      'homeassistant/device/site1_other/config',
      'homeassistant/device/site2_ghost/config',
    ])
  })
})
