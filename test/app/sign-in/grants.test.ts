import { describe, expect, it } from 'vitest'
import { resolveConfig } from '../../../src/host/config/config.ts'
import { keyOf, startApp } from '../../support/app.ts'

const grants = [
  { to: 'limb', publish: ['tele/%u/#', 'esp/%c/state'], subscribe: ['cmnd/%u/#'] },
  { to: 'viewer', publish: ['cmnd/#'], subscribe: ['tele/#', 'esp/#', 'homeassistant/#'] },
]

const configOf = (to: object[]) =>
  resolveConfig({ name: 'test', values: { mqtt: { grants: to } }, lineOf: () => undefined }, {}).config

describe('grants that name the session', () => {
  it('let each limb speak below its own name, kept and with last words, and below no other', async () => {
    await using app = await startApp({ mqtt: { port: 0, grants, maxRetainedPerNode: 3 } }, { memory: true })
    const admin = await app.admin()
    expect(await admin.subscribe('tele/#')).toEqual([1])
    const key = keyOf('cam1')
    await (await app.limb('cam1', undefined, key)).end()
    await app.limb('cam2')
    const will = { topic: 'tele/cam1/LWT', payload: Buffer.from('Offline'), qos: 1 as const, retain: true }
    const cam1 = await app.device('cam1', key, { will, clientId: 'esp-17' })
    expect(await cam1.subscribe(['cmnd/cam1/#', 'cmnd/cam2/#'])).toEqual([1, 128])
    await cam1.publish('tele/cam1/LWT', 'Online', { qos: 1, retain: true })
    await cam1.publish('tele/cam2/LWT', 'Forged', { qos: 1, retain: true })
    await cam1.publish('esp/esp-17/state', 'mine')
    await cam1.publish('esp/other/state', 'forged')
    await admin.publish('cmnd/cam1/POWER', 'ON')
    expect((await cam1.next('cmnd/cam1/POWER')).text).toBe('ON')
    expect((await admin.next(() => true)).text).toBe('Online')
    cam1.cut()
    expect(await admin.next(() => true)).toMatchObject({ topic: 'tele/cam1/LWT', text: 'Offline' })

    const later = await app.admin()
    await later.subscribe('tele/#')
    expect(await later.next(() => true)).toMatchObject({
      topic: 'tele/cam1/LWT',
      text: 'Offline',
      retain: true,
    })
    // What a limb kept goes with the limb.
    await admin.do('admin', 'node/revoke', { nodeId: 'cam1' })
    expect(await admin.next('tele/cam1/LWT')).toMatchObject({ text: '' })
  })

  it('bound what one limb may keep there', async () => {
    await using app = await startApp({ mqtt: { port: 0, grants, maxRetainedPerNode: 3 } }, { memory: true })
    const cam1 = await app.limb('cam1')
    const cam2 = await app.limb('cam2')
    for (let i = 0; i < 5; i++) await cam1.publish(`tele/cam1/t${i}`, 'x', { qos: 1, retain: true })
    await cam2.publish('tele/cam2/t', 'x', { qos: 1, retain: true })
    const admin = await app.admin()
    await admin.subscribe('tele/#')
    await admin.settle()
    await admin.next('tele/cam2/t')
    expect(admin.waiting.map(({ topic }) => topic)).toEqual(['tele/cam1/t0', 'tele/cam1/t1', 'tele/cam1/t2'])
  })

  it('are taken over by a reload, for sessions that are there too', async () => {
    await using app = await startApp({ mqtt: { port: 0, grants } }, { memory: true })
    const admin = await app.admin()
    const cam1 = await app.limb('cam1')
    await admin.subscribe('#')
    await cam1.publish('tele/cam1/a', 'one')
    expect((await admin.next('tele/cam1/a')).text).toBe('one')
    app.bridge.apply(configOf([{ to: 'limb', publish: ['stat/%u/#'] }]))
    await cam1.publish('tele/cam1/a', 'two')
    await cam1.publish('stat/cam1/a', 'three')
    await admin.settle()
    expect(admin.waiting.filter(({ topic }) => /^(tele|stat)/.test(topic))).toEqual([])
    app.bridge.apply(configOf([...grants, { to: 'viewer', subscribe: ['stat/#'] }]))
    await cam1.publish('tele/cam1/a', 'four')
    expect((await admin.next(({ topic }) => /^(tele|stat)/.test(topic))).text).toBe('four')
  })
})

it('nobody but the bridge publishes on the topics of its discovery messages', async () => {
  await using app = await startApp(
    {
      mqtt: { port: 0, grants: [{ to: 'limb', publish: ['homeassistant/#'], subscribe: [] }, ...grants] },
      homeAssistant: { enabled: true },
    },
    { memory: true },
  )
  const admin = await app.admin()
  await admin.do('admin', 'principal/add', { name: 'homeassistant', role: 'agent', password: 'ha-password' })
  const ha = await app.principal('homeassistant', 'ha-password')
  const limb = await app.limb('cam1')
  await ha.subscribe('homeassistant/#')
  const { topic } = await ha.next(({ topic: each }) => each.endsWith('cam1/config'))
  for (const client of [limb, ha]) {
    await client.publish(topic, 'forged', { qos: 1, retain: true })
    await client.publish(topic, '', { qos: 1, retain: true })
  }
  await limb.publish('homeassistant/sensor/own/config', 'mine', { qos: 1, retain: true })
  expect((await ha.next(({ topic: each }) => !each.includes('/device/'))).text).toBe('mine')
  expect(ha.waiting.filter((message) => message.topic === topic)).toEqual([])
  const again = await app.principal('homeassistant', 'ha-password')
  await again.subscribe(topic)
  expect((await again.next(topic)).json).toHaveProperty('device')
})
