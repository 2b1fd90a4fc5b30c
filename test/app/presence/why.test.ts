import { describe, expect, it } from 'vitest'
import { keyOf, REGISTRATION, startApp } from '../../support/app.ts'

const why = (admin: { do(who: string, verb: string, args: object): Promise<unknown> }, nodeId: string) =>
  admin.do('admin', 'node/why', { nodeId }) as Promise<Record<string, never>>

describe('node/why', () => {
  it('says of the name of a principal whose it is, and of no device that must register', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await admin.do('admin', 'principal/add', { name: 'ann', role: 'agent', password: 'ann-password' })
    const whose = ['ann is a principal (agent), and no limb can have its name: ']
    for (const connected of [false, true]) {
      if (connected) await app.principal('ann', 'ann-password')
      const { known, advice } = await why(admin, 'ann')
      expect([known, advice]).toEqual([false, whose.map((text) => expect.stringContaining(text))])
    }
  })

  it('says of a name that nobody has what was tried under it', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    expect(await why(admin, 'cam1')).toMatchObject({
      nodeId: 'cam1',
      known: false,
      advice: [expect.stringMatching(/nobody has tried the name cam1/)],
    })
    await expect(app.device('cam1', keyOf('cam1'), { keepalive: 0 })).rejects.toThrow()
    expect(await why(admin, 'cam1')).toMatchObject({
      known: false,
      lastRefusedSignIn: { address: '127.0.0.1', reason: expect.stringMatching(/keepalive/) },
    })
    const device = await app.device('cam1', keyOf('cam1'))
    await device.publish('limb/node/cam1/heartbeat')
    const early = await why(admin, 'cam1')
    expect(early).toMatchObject({
      session: { address: '127.0.0.1', as: 'candidate', version: '3.1.1' },
      lastDenied: { what: 'publish', topic: 'limb/node/cam1/heartbeat' },
    })
    expect(String(early.advice)).toMatch(/must publish limb\/node\/cam1\/register first/)
    await device.publish('limb/node/cam1/data/t', '21')
    const publishes = await why(admin, 'cam1')
    expect(String(publishes.advice)).toMatch(
      /publishes limb\/node\/cam1\/data\/t before it is approved.*`limb-bridge node provision cam1`/,
    )
    await device.subscribe('limb/node/cam1/pairing')
    await device.publish('limb/node/cam1/register', REGISTRATION)
    const { code } = (await device.next('limb/node/cam1/pairing')).json
    const asked = await why(admin, 'cam1')
    expect(asked).toMatchObject({ pending: [{ nodeId: 'cam1', code }] })
    expect(String(asked.advice)).toContain(`compare the code ${code}`)
  })

  it('says what was wrong with a registration, of a new name and of a limb, until it is mended', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const devices = { cam1: await app.device('cam1', keyOf('cam1')), cam2: await app.limb('cam2') }
    for (const [nodeId, device] of Object.entries(devices)) {
      await device.publish(`limb/node/${nodeId}/register`, { ...REGISTRATION, displayName: 5 })
      const found = await why(admin, nodeId)
      expect(found).toMatchObject({
        lastRefusedRegistration: { address: '127.0.0.1', reason: 'displayName: must be text, not a number' },
      })
      expect(String(found.advice)).toMatch(
        /its last registration, from 127\.0\.0\.1 at .*, was refused: displayName/,
      )
      expect(String(found.advice)).not.toMatch(/has not registered/)
      await device.publish(`limb/node/${nodeId}/register`, REGISTRATION)
      expect(await why(admin, nodeId)).not.toHaveProperty('lastRefusedRegistration')
    }
  })

  it('says of a device that left what it did not do', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.device('cam1', keyOf('cam1'))
    await device.end()
    await expect
      .poll(async () => String((await why(admin, 'cam1')).advice))
      .toMatch(
        /a device connected as cam1 from 127\.0\.0\.1 at .*, and left without registering: it must publish/,
      )
  })

  it('says of a limb whether it is there, silent or away, and when its heartbeat is due', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.limb('cam1')
    const silent = await why(admin, 'cam1')
    expect(silent).toMatchObject({
      known: true,
      status: 'offline',
      reason: 'approved',
      session: { as: 'limb' },
    })
    expect(String(silent.advice)).toMatch(/is connected from 127.0.0.1 and silent.*every 15 s/)
    await device.subscribe('limb/node/cam1/invoke')
    await device.publish('limb/node/cam1/heartbeat')
    const there = await why(admin, 'cam1')
    expect(there).toMatchObject({ status: 'online', advice: [expect.stringMatching(/nothing is wrong/)] })
    expect(Date.parse(String(there.heartbeatDueAt)) - Date.now()).toBeGreaterThan(30_000)
    await device.end()
    const away = await why(admin, 'cam1')
    expect(away).not.toHaveProperty('session')
    expect(String(away.advice)).toMatch(/is not connected: it said goodbye/)
    const other = await app.device('cam1', 'another key than that of cam1')
    const stranger = await why(admin, 'cam1')
    expect(stranger).toMatchObject({ session: { as: 'candidate' } })
    expect(String(stranger.advice)).toMatch(
      /connected as cam1 from 127.0.0.1 with another key than the approved one.*node rotate-key/,
    )
    await other.publish('limb/node/cam1/heartbeat')
    await other.end()
    expect(String((await why(admin, 'cam1')).advice)).toMatch(
      /that connected as cam1 with another key than the approved one was denied its publish of limb\/node\/cam1\/heartbeat .*node rotate-key/,
    )
  })

  it('says of a limb that sleeps that this is as it should be, and until when', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.limb('cam1', { ...REGISTRATION, presence: 'sleepy', heartbeatSeconds: 600 })
    await device.publish('limb/node/cam1/data/x', '1', { qos: 1 })
    await device.end()
    const asleep = await why(admin, 'cam1')
    expect(asleep).toMatchObject({ status: 'asleep', advice: [expect.stringContaining('as it should')] })
    expect(String(asleep.advice)).toContain(`not heard until ${asleep.heartbeatDueAt}`)
    expect(String(asleep.advice)).toContain('offlineWaitSeconds')
  })

  it('does not call the key of a limb wrong for what it was denied before its approval', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const device = await app.device('cam1', keyOf('cam1'))
    await device.subscribe('limb/node/cam1/#').catch(() => undefined)
    await device.subscribe('limb/node/cam1/pairing')
    await device.publish('limb/node/cam1/register', REGISTRATION)
    const { requestId } = (await device.next('limb/node/cam1/pairing')).json
    await admin.do('admin', 'pairing/approve', { requestId })
    const advice = String((await why(admin, 'cam1')).advice)
    expect(advice).toMatch(/before the last approval of cam1, .* subscribe of limb\/node\/cam1\/# at/)
    expect(advice).toContain('limb/node/cam1/pairing and limb/node/cam1/invoke by their whole names')
    expect(advice).not.toContain('another key')
  })

  it('says of a revoked limb that its key is refused, and how to lift that', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    await app.limb('cam1')
    await admin.do('admin', 'node/revoke', { nodeId: 'cam1' })
    await expect(app.device('cam1', keyOf('cam1'))).rejects.toThrow()
    const found = await why(admin, 'cam1')
    expect(found).toMatchObject({
      known: false,
      refused: [{ why: 'revoked' }, { why: 'revoked' }],
      lastRefusedSignIn: { reason: expect.stringMatching(/rejected or revoked/) },
    })
    expect(String(found.advice)).toMatch(/pairing forgive cam1/)
    const viewer = await app.admin({ username: 'admin', password: 'role:viewer' })
    expect(await viewer.ask('admin', 'node/why', { nodeId: 'cam1' })).toMatchObject({
      error: { code: 'forbidden' },
    })
  })
})
