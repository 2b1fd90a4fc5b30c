import { describe, expect, it } from 'vitest'
import { keyOf, startApp, type TestApp } from '../../support/app.ts'
import type { Loose, TestClient } from '../../support/client.ts'
import { patience } from '../../support/patience.ts'
import { ESPHOME, TASMOTA, ZIGBEE } from './payloads.ts'

/** Firmware that was never made for the bridge, as limbs: what it sends is sent by MQTT clients, word for word. */

const ADAPTERS = { homeAssistant: true, tasmota: true }
const GRANTS = [
  { to: 'limb', publish: ['%u/#', 'tele/%u/#', 'stat/%u/#'], subscribe: ['%u/#', 'cmnd/%u/#'] },
  { to: 'limb', publish: ['zigbee2mqtt/#'], subscribe: ['zigbee2mqtt/#', 'homeassistant/status'] },
]
const SETTINGS = { adapters: ADAPTERS, mqtt: { port: 0, grants: GRANTS } }

const poll = <T>(look: () => Promise<T>) => expect.poll(look, { timeout: patience(10_000) })

async function announce(client: TestClient, messages: Readonly<Record<string, object>>): Promise<void> {
  // In one go: what comes within a second of the first is looked at together.
  await Promise.all(
    Object.entries(messages).map(([topic, message]) =>
      client.publish(topic, JSON.stringify(message), { qos: 1, retain: true }),
    ),
  )
}

/** Waits for the request of a limb, and approves it. */
async function approve(admin: TestClient, nodeId: string): Promise<Loose> {
  let found: Loose | undefined
  await poll(async () => {
    const { items } = await admin.do('admin', 'pairing/list', {})
    found = items.find((each: Loose) => each.nodeId === nodeId)
    return found?.nodeId
  }).toBe(nodeId)
  await admin.do('admin', 'pairing/approve', { requestId: found?.requestId })
  return found as Loose
}

/** Connects firmware that has announced itself before, as it does after its approval. */
async function board(app: TestApp, admin: TestClient): Promise<TestClient> {
  const stranger = await app.device('kitchen', keyOf('kitchen'), { reconnectPeriod: 0 })
  await announce(stranger, ESPHOME)
  await approve(admin, 'kitchen')
  const client = await app.device('kitchen', keyOf('kitchen'))
  await client.subscribe('kitchen/+/+/command')
  await client.publish('kitchen/status', 'online', { qos: 1, retain: true })
  return client
}

describe('firmware that announces itself to Home Assistant', () => {
  it('asks to be paired, with what it can do, and waits for an operator', async () => {
    await using app = await startApp(SETTINGS, { memory: true })
    const admin = await app.admin()
    const stranger = await app.device('kitchen', keyOf('kitchen'), { reconnectPeriod: 0 })
    await announce(stranger, ESPHOME)
    const request = await approve(admin, 'kitchen')
    expect(request).toMatchObject({
      displayName: 'Kitchen board',
      platform: 'esp32dev',
      firmware: '2025.8.0',
    })
    expect(request.capabilities).toEqual([
      { cap: 'strip', commands: ['strip.set'], authLevel: 'free' },
      { cap: 'door', commands: ['door.lock', 'door.unlock'], authLevel: 'gated' },
      { cap: 'relay', commands: ['relay.set'], authLevel: 'free' },
    ])
    const { description } = await admin.do('admin', 'node/get', { nodeId: 'kitchen' })
    expect(description).toMatchObject({ manufacturer: 'Espressif', area: 'Kitchen' })
    expect(description.properties.map(({ name }: Loose) => name).sort()).toEqual(
      ['door', 'relay', 'strip', 'strip_brightness', 'temperature', 'window'].sort(),
    )
  })

  it('is there as its availability topic says, and its states are data of the limb', async () => {
    await using app = await startApp(SETTINGS, { memory: true })
    const admin = await app.admin()
    await admin.subscribe(['limb/node/kitchen/status', 'limb/node/kitchen/data/#'])
    const client = await board(app, admin)
    await poll(async () => (await admin.do('admin', 'node/get', { nodeId: 'kitchen' })).status).toBe('online')
    await client.publish('kitchen/sensor/temperature/state', '21.5', { qos: 1, retain: true })
    expect((await admin.next('limb/node/kitchen/data/temperature')).text).toBe('21.5')
    await client.publish('kitchen/binary_sensor/window/state', 'ON', { qos: 1 })
    expect((await admin.next('limb/node/kitchen/data/window')).text).toBe('true')
    await client.publish('kitchen/light/strip/state', '{"state":"ON","brightness":128}', { qos: 1 })
    expect((await admin.next('limb/node/kitchen/data/strip_brightness')).text).toBe('128')
    await client.publish('kitchen/status', 'offline', { qos: 1, retain: true })
    await poll(async () => (await admin.do('admin', 'node/get', { nodeId: 'kitchen' })).status).toBe(
      'offline',
    )
  })

  it('is invoked by a publish on its command topic, with the payloads that it has named', async () => {
    await using app = await startApp(SETTINGS, { memory: true })
    const admin = await app.admin()
    const client = await board(app, admin)
    const invoke = (command: string, params: object) =>
      admin.ask('admin', 'invoke', { nodeId: 'kitchen', command, params })
    await poll(async () => (await invoke('relay.set', { on: true })).ok).toBe(true)
    expect((await client.next('kitchen/switch/relay/command')).text).toBe('ON')
    const bad = await invoke('strip.set', { brightness: 400 })
    expect(bad.error).toMatchObject({ code: 'invalid_request', path: 'params.brightness' })
    await invoke('strip.set', { on: true, brightness: 40 })
    expect((await client.next('kitchen/light/strip/command')).json).toEqual({ state: 'ON', brightness: 40 })
    const none = await invoke('strip.set', {})
    expect(none.error).toMatchObject({ code: 'invalid_request', path: 'params' })
  })

  it('is known after a restart of the bridge, before it says anything again', async () => {
    await using app = await startApp(SETTINGS)
    const admin = await app.admin()
    const first = await board(app, admin)
    await first.end()
    await app.restart()
    const again = await app.admin()
    const client = await app.device('kitchen', keyOf('kitchen'))
    await client.subscribe('kitchen/+/+/command')
    await client.publish('kitchen/status', 'online', { qos: 1 })
    const asked = () =>
      again.ask('admin', 'invoke', { nodeId: 'kitchen', command: 'relay.set', params: { on: false } })
    await poll(async () => (await asked()).ok).toBe(true)
    expect((await client.next('kitchen/switch/relay/command')).text).toBe('OFF')
  })

  it('has no more than its own topics: what it announces elsewhere is left out, and told', async () => {
    await using app = await startApp(SETTINGS, { memory: true })
    const admin = await app.admin()
    const stranger = await app.device('kitchen', keyOf('kitchen'), { reconnectPeriod: 0 })
    const of = (stat_t: string) => ({ name: 'x', stat_t, dev: { ids: 'x', name: 'X' } })
    await announce(stranger, {
      'homeassistant/sensor/kitchen/own/config': of('kitchen/own'),
      'homeassistant/sensor/kitchen/other/config': of('garage/secret'),
      'homeassistant/sensor/kitchen/limb/config': of('limb/node/cam1/state'),
    })
    await approve(admin, 'kitchen')
    const { description } = await admin.do('admin', 'node/get', { nodeId: 'kitchen' })
    expect(description.properties.map(({ name }: Loose) => name)).toEqual(['own'])
    expect(app.logLines.some(({ msg }) => String(msg).includes('garage/secret'))).toBe(true)
  })

  it('reaches nobody with what it announces: discovery of strangers and limbs is not routed', async () => {
    await using app = await startApp(SETTINGS, { memory: true })
    const admin = await app.admin()
    await admin.subscribe('#')
    const stranger = await app.device('kitchen', keyOf('kitchen'), { reconnectPeriod: 0 })
    await announce(stranger, ESPHOME)
    await approve(admin, 'kitchen')
    expect(admin.waiting.some(({ topic }) => topic.startsWith('homeassistant/'))).toBe(false)
  })

  it('is what it was when the adapters are off: denied', async () => {
    await using app = await startApp({ mqtt: { port: 0, grants: GRANTS } }, { memory: true, fakeClock: true })
    const admin = await app.admin()
    const stranger = await app.device('kitchen', keyOf('kitchen'), { reconnectPeriod: 0 })
    await announce(stranger, ESPHOME)
    app.clock.advance(5000)
    expect((await admin.do('admin', 'pairing/list', {})).items).toEqual([])
  })

  it('may be hostile: texts, topics and sizes are bounded, and nothing of it is run', async () => {
    await using app = await startApp(SETTINGS, { memory: true })
    const admin = await app.admin()
    const stranger = await app.device('kitchen', keyOf('kitchen'), { reconnectPeriod: 0 })
    const dev = {
      ids: ['x\u202e'],
      name: 'Evil\u001b[31m\u202eboard',
      cu: 'javascript:alert(1)',
      mdl: 'M'.repeat(500),
    }
    const good = { name: 'ok\u0000\u200b', stat_t: 'kitchen/ok', dev }
    await announce(stranger, {
      'homeassistant/sensor/kitchen/ok/config': good,
      'homeassistant/sensor/kitchen/__proto__/config': { ...good, stat_t: 'kitchen/#' },
      'homeassistant/sensor/kitchen/template/config': {
        ...good,
        val_tpl: "{{ ''.__class__.__mro__[1].__subclasses__() }}",
      },
      'homeassistant/number/kitchen/range/config': { ...good, cmd_t: 'kitchen/n', min: 5, max: 1 },
      'homeassistant/sensor/kitchen/list/config': [],
    })
    await stranger.publish('homeassistant/sensor/kitchen/broken/config', '{"name":', { qos: 1 })
    const request = await approve(admin, 'kitchen')
    expect(request.displayName).toBe('Evil[31mboard')
    const { description } = await admin.do('admin', 'node/get', { nodeId: 'kitchen' })
    expect(description.configurationUrl).toBeUndefined()
    expect(description.properties).toHaveLength(1)
    expect(description.properties[0]).toMatchObject({ name: 'ok', title: 'ok' })
  })

  it('takes back what it announced, and what is new waits for an operator', async () => {
    await using app = await startApp(SETTINGS, { memory: true })
    const admin = await app.admin()
    const client = await board(app, admin)
    await client.publish('homeassistant/switch/kitchen/relay/config', '', { qos: 1, retain: true })
    await announce(client, {
      'homeassistant/button/kitchen/bell/config': {
        name: 'Bell',
        cmd_t: 'kitchen/button/bell/command',
        dev: { ids: 'a0b1c2d3e4f5', name: 'Kitchen board' },
      },
    })
    await poll(async () =>
      (await admin.do('admin', 'pairing/list', {})).items.map(({ kind }: Loose) => kind),
    ).toEqual(['widen'])
    const { capabilities } = await admin.do('admin', 'node/get', { nodeId: 'kitchen' })
    expect(capabilities.map(({ cap }: Loose) => cap)).not.toContain('relay')
    await approve(admin, 'kitchen')
    const { ok } = await admin.ask('admin', 'invoke', { nodeId: 'kitchen', command: 'bell.press' })
    expect(ok).toBe(true)
    expect((await client.next('kitchen/button/bell/command')).text).toBe('PRESS')
  })

  it('is what it announced last, also where it changed more often than a limb may for a while', async () => {
    await using app = await startApp(SETTINGS, { memory: true, fakeClock: true })
    const admin = await app.admin()
    await admin.do('admin', 'node/provision', { nodeId: 'kitchen', apiKey: keyOf('kitchen') })
    const client = await app.device('kitchen', keyOf('kitchen'))
    const isRefused = () =>
      app.logLines.some(({ msg }) => String(msg).startsWith('registration of kitchen refused'))
    const nameNow = async () => (await admin.do('admin', 'node/get', { nodeId: 'kitchen' })).displayName
    let name = ''
    for (let i = 0; !isRefused() && i < 60; i++) {
      name = `Board ${i}`
      const dev = { ids: 'x', name }
      await announce(client, {
        'homeassistant/sensor/kitchen/x/config': { name: 'x', stat_t: 'kitchen/x', dev },
      })
      app.clock.advance(1000)
      await poll(async () => isRefused() || (await nameNow()) === name).toBe(true)
    }
    expect(isRefused()).toBe(true)
    expect(await nameNow()).not.toBe(name)
    app.clock.advance(61_000)
    await poll(nameNow).toBe(name)
  })
})

describe('devices behind one session', () => {
  async function gateway(app: TestApp, admin: TestClient): Promise<TestClient> {
    await admin.do('admin', 'node/provision', { nodeId: 'z2m', apiKey: keyOf('z2m') })
    const client = await app.device('z2m', keyOf('z2m'))
    await client.subscribe(['zigbee2mqtt/#', 'homeassistant/status'])
    await client.publish('zigbee2mqtt/bridge/state', '{"state":"online"}', { qos: 1, retain: true })
    await announce(client, ZIGBEE)
    return client
  }
  const BULB = 'z2m-zigbee2mqtt_0x000b57fffec6a5b2'
  const DOOR = 'z2m-zigbee2mqtt_0x00158d0002ab12cd'

  it('are limbs of their own, each approved by an operator, and speak for nobody else', async () => {
    await using app = await startApp(SETTINGS, { memory: true })
    const admin = await app.admin()
    const client = await gateway(app, admin)
    expect((await client.next('homeassistant/status')).text).toBe('online')
    await approve(admin, BULB)
    await approve(admin, DOOR)
    await admin.subscribe([`limb/node/${BULB}/data/#`, `limb/node/${DOOR}/data/#`])
    await client.publish('zigbee2mqtt/0x000b57fffec6a5b2/availability', '{"state":"online"}', {
      qos: 1,
      retain: true,
    })
    await client.publish(
      'zigbee2mqtt/0x000b57fffec6a5b2',
      '{"state":"ON","brightness":200,"linkquality":90}',
      { qos: 1 },
    )
    expect((await admin.next(`limb/node/${BULB}/data/hall_bulb_linkquality`)).text).toBe('90')
    await client.publish('zigbee2mqtt/0x00158d0002ab12cd', '{"contact":false}', { qos: 1 })
    expect((await admin.next(`limb/node/${DOOR}/data/door_contact`)).text).toBe('true')
    await poll(async () => (await admin.do('admin', 'node/get', { nodeId: BULB })).status).toBe('online')
    expect(await admin.do('admin', 'node/get', { nodeId: BULB })).toMatchObject({ via: 'z2m' })
    const params = { on: true, brightness: 10, mireds: 300 }
    const { ok } = await admin.ask('admin', 'invoke', { nodeId: BULB, command: 'hall_bulb.set', params })
    expect(ok).toBe(true)
    expect((await client.next('zigbee2mqtt/0x000b57fffec6a5b2/set')).json).toEqual({
      state: 'ON',
      brightness: 10,
      color_temp: 300,
    })
  })

  it('go offline with the session that speaks for them, and come back with it', async () => {
    await using app = await startApp(SETTINGS)
    const admin = await app.admin()
    const client = await gateway(app, admin)
    await approve(admin, DOOR)
    const status = async () => (await admin.do('admin', 'node/get', { nodeId: DOOR })).status
    await poll(status).toBe('online')
    await client.end()
    await poll(status).toBe('offline')
    const again = await app.device('z2m', keyOf('z2m'))
    await again.publish('zigbee2mqtt/bridge/state', '{"state":"online"}', { qos: 1, retain: true })
    await poll(status).toBe('online')
  })

  it('are no more than the configuration allows', async () => {
    await using app = await startApp(
      { ...SETTINGS, adapters: { ...ADAPTERS, maxDevicesPerLimb: 1 } },
      { memory: true },
    )
    const admin = await app.admin()
    await gateway(app, admin)
    await poll(async () => app.logLines.some(({ msg }) => String(msg).includes('maxDevicesPerLimb'))).toBe(
      true,
    )
    const { items } = await admin.do('admin', 'pairing/list', {})
    expect(items.filter(({ kind }: Loose) => kind === 'new')).toHaveLength(1)
  })

  it('take no name of another limb', async () => {
    await using app = await startApp(SETTINGS, { memory: true })
    await app.limb(DOOR)
    const admin = await app.admin()
    await gateway(app, admin)
    await approve(admin, BULB)
    expect(
      app.logLines.some(({ msg }) => String(msg).includes(`would be ${DOOR}, which is another limb`)),
    ).toBe(true)
    expect(
      (await admin.do('admin', 'pairing/list', {})).items.map(({ nodeId }: Loose) => nodeId),
    ).not.toContain(DOOR)
  })
})

describe('Tasmota', () => {
  async function plug(app: TestApp, admin: TestClient): Promise<TestClient> {
    const stranger = await app.device('plug1', keyOf('plug1'), { reconnectPeriod: 0 })
    await announce(stranger, TASMOTA)
    await approve(admin, 'plug1')
    const client = await app.device('plug1', keyOf('plug1'))
    await client.subscribe('cmnd/plug1/#')
    await client.publish('tele/plug1/LWT', 'Online', { qos: 1, retain: true })
    return client
  }

  it('is a limb whose measurements are data, and whose answer is the result of the call', async () => {
    await using app = await startApp(SETTINGS, { memory: true })
    const admin = await app.admin()
    const client = await plug(app, admin)
    await admin.subscribe('limb/node/plug1/data/#')
    await poll(async () => (await admin.do('admin', 'node/get', { nodeId: 'plug1' })).status).toBe('online')
    await client.publish('tele/plug1/SENSOR', '{"Time":"x","ENERGY":{"Power":17,"Total":12.4}}', { qos: 1 })
    expect((await admin.next('limb/node/plug1/data/energy_power')).text).toBe('17')
    const { description } = await admin.do('admin', 'node/get', { nodeId: 'plug1' })
    expect(description.properties.find(({ name }: Loose) => name === 'energy_total')).toMatchObject({
      unit: 'kW.h',
      deviceClass: 'energy',
      stateClass: 'total_increasing',
    })
    const asked = admin.ask('admin', 'invoke', {
      nodeId: 'plug1',
      command: 'power1.set',
      params: { on: true },
    })
    expect((await client.next('cmnd/plug1/POWER1')).text).toBe('ON')
    await client.publish('stat/plug1/RESULT', '{"POWER":"ON"}', { qos: 1 })
    expect((await asked).data).toMatchObject({ data: { POWER: 'ON' } })
    expect((await admin.next('limb/node/plug1/data/power1')).text).toBe('true')
  })

  it('that refuses a command is an error of the limb', async () => {
    await using app = await startApp(SETTINGS, { memory: true })
    const admin = await app.admin()
    const client = await plug(app, admin)
    await poll(async () => (await admin.do('admin', 'node/get', { nodeId: 'plug1' })).status).toBe('online')
    const asked = admin.ask('admin', 'invoke', { nodeId: 'plug1', command: 'power1.toggle' })
    expect((await client.next('cmnd/plug1/POWER1')).text).toBe('TOGGLE')
    await client.publish('stat/plug1/RESULT', '{"Command":"Error"}', { qos: 1 })
    expect((await asked).error).toMatchObject({
      code: 'node_error',
      message: expect.stringContaining('Error'),
    })
  })
})
