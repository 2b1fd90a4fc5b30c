import { describe, expect, it } from 'vitest'
import { keyOf, startApp } from '../../support/app.ts'

const LAMP = {
  displayName: 'Desk lamp',
  platform: 'esp32',
  description: 'A lamp on a desk',
  model: 'L1',
  manufacturer: 'Lamps Inc',
  area: 'Office',
  configurationUrl: 'http://192.0.2.7/',
  capabilities: [
    {
      cap: 'light',
      commands: [
        {
          name: 'lamp.set',
          title: 'Set the lamp',
          input: {
            type: 'object',
            properties: { brightness: { type: 'integer', minimum: 0, maximum: 100 } },
            required: ['brightness'],
          },
          idempotent: true,
        },
        'lamp.off',
      ],
      authLevel: 'free',
    },
  ],
  properties: [
    {
      name: 'brightness',
      topic: 'data/lamp',
      pointer: '/brightness',
      type: 'integer',
      unit: '%',
      set: { command: 'lamp.set', param: 'brightness' },
    },
  ],
}
const DESCRIPTION = 'limb/node/lamp1/description'

describe('a limb that describes itself', () => {
  it('is shown by its retained description, by node/get and as a Thing, also after a restart', async () => {
    await using app = await startApp()
    await app.limb('lamp1', LAMP)
    for (const restart of [false, true]) {
      if (restart) await app.restart()
      const admin = await app.admin()
      await admin.subscribe(DESCRIPTION)
      const { json, retain } = await admin.next(DESCRIPTION)
      expect(retain).toBe(true)
      expect(json).toMatchObject({
        nodeId: 'lamp1',
        displayName: 'Desk lamp',
        model: 'L1',
        area: 'Office',
        commands: [
          { name: 'lamp.set', capability: 'light', title: 'Set the lamp', idempotent: true },
          { name: 'lamp.off', capability: 'light' },
        ],
        properties: [{ name: 'brightness', unit: '%' }],
      })
      expect((await admin.do('admin', 'node/get', { nodeId: 'lamp1' })).description).toEqual(json)
      const state = await admin.do('admin', 'node/get', { nodeId: 'lamp1' })
      expect(state.capabilities[0].commands).toEqual(['lamp.set', 'lamp.off'])
      const thing = await admin.do('admin', 'node/thing', { nodeId: 'lamp1' })
      expect(thing).toMatchObject({
        '@context': expect.arrayContaining(['https://www.w3.org/2022/wot/td/v1.1']),
        title: 'Desk lamp',
        properties: { brightness: { type: 'integer', unit: '%', readOnly: false } },
        actions: { 'lamp.set': { input: { required: ['brightness'] }, idempotent: true } },
      })
      await admin.end()
    }
  })

  it('has the params of its commands checked before anything is sent', async () => {
    await using app = await startApp({}, { memory: true })
    const limb = await app.limb('lamp1', LAMP)
    await limb.subscribe('limb/node/lamp1/invoke')
    await limb.publish('limb/node/lamp1/heartbeat', {}, { qos: 1 })
    const admin = await app.admin()
    const wrong = { nodeId: 'lamp1', command: 'lamp.set', params: { brightness: 200 } }
    expect((await admin.ask('admin', 'invoke', wrong)).error).toMatchObject({
      code: 'invalid_request',
      path: 'params.brightness',
      message: expect.stringContaining('at most 100'),
    })
    expect(
      (await admin.ask('admin', 'invoke', { nodeId: 'lamp1', command: 'lamp.set' })).error,
    ).toMatchObject({
      path: 'params.brightness',
    })
    const sent = admin.ask('admin', 'invoke', { ...wrong, noCheck: true })
    const { json } = await limb.next('limb/node/lamp1/invoke')
    expect(json.params).toEqual({ brightness: 200 })
    await limb.publish('limb/node/lamp1/result', { invocationId: json.invocationId, success: true })
    expect((await sent).ok).toBe(true)
  })

  it('has them checked before it matters whether it is there, may be asked for, or waits for an approval', async () => {
    await using app = await startApp({}, { memory: true })
    const limb = await app.limb('lamp1', LAMP)
    const admin = await app.admin()
    const refused = { code: 'invalid_request', path: 'params.brightness' }
    const wrong = { command: 'lamp.set', params: { brightness: 'all' } }
    const ask = async (more: object) => (await admin.ask('admin', 'invoke', { ...wrong, ...more })).error
    // Never heard of, then unavailable, then gone.
    expect(await ask({ nodeId: 'lamp1' })).toMatchObject(refused)
    expect(await ask({ capability: 'light' })).toMatchObject(refused)
    await limb.publish('limb/node/lamp1/heartbeat', { unavailable: ['light'] }, { qos: 1 })
    expect(await ask({ nodeId: 'lamp1' })).toMatchObject(refused)
    expect(await ask({ capability: 'light', idempotencyKey: 'k1' })).toMatchObject(refused)
    await limb.end()
    expect(await ask({ nodeId: 'lamp1', waitSeconds: 5 })).toMatchObject(refused)
    expect(await ask({ nodeId: 'lamp1', noCheck: true })).toMatchObject({ code: 'node_offline' })
    expect(await ask({ nodeId: 'lamp1', params: { brightness: 5 } })).toMatchObject({ code: 'node_offline' })
    expect(await ask({ capability: 'light', params: { brightness: 5 } })).toMatchObject({
      code: 'node_offline',
    })
    await admin.do('admin', 'policy/set', {
      principal: '*',
      nodeId: 'lamp1',
      capability: 'light',
      level: 'gated',
    })
    expect(await ask({ nodeId: 'lamp1', params: {} })).toMatchObject(refused)
    expect((await admin.do('admin', 'invocation/list')).items).toEqual([])
  })

  it('changes its words at once, on record, without an approval', async () => {
    await using app = await startApp({}, { memory: true })
    const limb = await app.limb('lamp1', LAMP)
    const admin = await app.admin()
    await admin.subscribe(DESCRIPTION)
    await admin.next(DESCRIPTION)
    await limb.publish('limb/node/lamp1/register', { ...LAMP, model: 'L2' })
    expect((await admin.next(DESCRIPTION)).json.model).toBe('L2')
    expect((await limb.next('limb/node/lamp1/pairing')).json.awaiting).toBeUndefined()
    expect((await admin.do('admin', 'audit/list', { kind: 'node.updated' })).items).toHaveLength(1)
  })

  it('is corrected by an operator, whose words win and can be taken back', async () => {
    await using app = await startApp()
    await app.limb('lamp1', LAMP)
    const admin = await app.admin()
    const description = {
      model: 'L1b',
      commands: [{ name: 'lamp.off', title: 'Switch off', safe: false }],
      properties: [{ name: 'power', topic: 'data/power', type: 'number', unit: 'W' }],
    }
    const shown = await admin.do('admin', 'node/describe', { nodeId: 'lamp1', description })
    expect(shown).toMatchObject({
      model: 'L1b',
      manufacturer: 'Lamps Inc',
      commands: [{ title: 'Set the lamp' }, { title: 'Switch off' }],
      properties: [{ name: 'brightness' }, { name: 'power' }],
    })
    await app.restart()
    const again = await app.admin()
    expect((await again.do('admin', 'node/get', { nodeId: 'lamp1' })).description).toEqual(shown)
    const back = await again.do('admin', 'node/describe', { nodeId: 'lamp1', description: null })
    expect(back.model).toBe('L1')
    expect((await again.do('admin', 'audit/list', { kind: 'node.described' })).items).toHaveLength(2)
  })

  it('takes its description along when it is revoked', async () => {
    await using app = await startApp({}, { memory: true })
    await app.limb('lamp1', LAMP)
    const admin = await app.admin()
    await admin.subscribe(DESCRIPTION)
    await admin.next(DESCRIPTION)
    await admin.do('admin', 'node/revoke', { nodeId: 'lamp1' })
    expect((await admin.next(DESCRIPTION)).text).toBe('')
  })

  it('is told what is wrong with a description, with the path', async () => {
    await using app = await startApp({}, { memory: true })
    const device = await app.device('lamp1', keyOf('lamp1'))
    await device.subscribe('limb/node/lamp1/pairing')
    for (const [changes, path] of [
      [{ properties: [{ name: 'x', topic: 'elsewhere', type: 'number' }] }, 'properties[0].topic'],
      [
        {
          capabilities: [{ cap: 'c', commands: [{ name: 'a', input: { pattern: 'x' } }], authLevel: 'free' }],
        },
        'capabilities[0].commands[0]',
      ],
      [{ configurationUrl: 'javascript:alert(1)' }, 'configurationUrl'],
    ] as const) {
      await device.publish('limb/node/lamp1/register', { ...LAMP, ...changes })
      const { json } = await device.next('limb/node/lamp1/pairing')
      expect(json.error.code).toBe('invalid_request')
      expect(json.error.path).toContain(path)
    }
  })
})
