import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { keyOf, REGISTRATION, startApp, type TestApp } from '../support/app.ts'
import type { Loose, TestClient } from '../support/client.ts'

/** What somebody on the network tries against pairing, through real connections to the whole bridge. */

interface Claim {
  readonly device: TestClient
  readonly answer: Loose
}

async function claim(
  app: TestApp,
  nodeId: string,
  key?: string,
  registration: Loose = REGISTRATION,
): Promise<Claim> {
  const device = await app.device(nodeId, key)
  await device.subscribe(`limb/node/${nodeId}/pairing`)
  return { device, answer: await register(device, nodeId, registration) }
}

async function register(device: TestClient, nodeId: string, registration: Loose = REGISTRATION) {
  await device.publish(`limb/node/${nodeId}/register`, registration)
  return (await device.next(`limb/node/${nodeId}/pairing`)).json
}

const widened = (caps: number): Loose => ({
  ...REGISTRATION,
  capabilities: Array.from({ length: caps }, (_, i) => ({ cap: `cap${i}`, commands: [], authLevel: 'free' })),
})

/** An approved limb is told so when it registers; a candidate's registration waits. */
const isLimb = async (device: TestClient, nodeId: string) => {
  await device.subscribe(`limb/node/${nodeId}/pairing`)
  return (await register(device, nodeId)).status === 'approved'
}

describe('squatting on an id', () => {
  it('keeps nobody out: the real device makes its own request, both are marked, the operator decides', async () => {
    await using app = await startApp()
    const squatter = await claim(app, 'cam1', 'squatter-key-of-some-length')
    const real = await claim(app, 'cam1', keyOf('cam1'))
    expect(real.answer.status).toBe('pending')
    expect(real.answer.code).not.toBe(squatter.answer.code)
    const admin = await app.admin()
    const { items } = await admin.do('admin', 'pairing/list')
    expect(items.map(({ conflict }: Loose) => conflict)).toEqual([true, true])
    await admin.do('admin', 'pairing/approve', { requestId: real.answer.requestId })
    expect((await real.device.next('limb/node/cam1/pairing')).json.status).toBe('approved')
    expect((await squatter.device.next('limb/node/cam1/pairing')).json.status).toBe('rejected')
    await squatter.device.ended()
    await expect(app.device('cam1', 'squatter-key-of-some-length')).rejects.toMatchObject({ code: 5 })
  })

  it('is never rewarded by an open window: neither the squatter nor the squatted comes in by itself', async () => {
    await using app = await startApp()
    await claim(app, 'cam1', 'squatter-key-of-some-length')
    await (await app.admin()).do('admin', 'pairing/permit', { seconds: 60 })
    expect((await claim(app, 'cam1', keyOf('cam1'))).answer.status).toBe('pending')
  })

  it('with every client id there is keeps no limb from connecting', async () => {
    await using app = await startApp()
    await (await app.limb('cam1')).end()
    for (const clientId of ['cam1', 'cam1-esp32', 'mqttjs_1']) {
      await app.device('cam1', 'squatter-key-of-some-length', { clientId })
      const limb = await app.device('cam1', keyOf('cam1'), { clientId })
      expect(await isLimb(limb, 'cam1')).toBe(true)
      await limb.end()
    }
  })
})

describe('a flood of requests', () => {
  it('is bounded in all, told, logged a few times and counted, and limbs do not notice', async () => {
    // By a clock that stands still: lines are counted in windows of time.
    await using app = await startApp(
      { http: { enabled: true, port: 0 }, pairing: { maxPending: 10 } },
      { fakeClock: true },
    )
    const limb = await app.limb('cam1')
    const answers: string[] = []
    for (let i = 0; i < 30; i++) {
      const { device, answer } = await claim(app, `flood${i}`, keyOf(`flood${i}`))
      answers.push(answer.error?.code ?? answer.status)
      device.cut()
    }
    expect(answers.filter((each) => each === 'pending').length).toBe(10)
    expect(answers.filter((each) => each === 'too_many_requests').length).toBe(20)
    const lines = app.logLines.filter(({ msg }) => String(msg).includes('refused: 10 requests'))
    expect(lines.length).toBe(5)
    const text = await (await fetch(`http://127.0.0.1:${app.bridge.http?.port}/metrics`)).text()
    expect(text).toContain('limb_registrations_refused_total{code="too_many_requests"} 20')
    // An approved limb is no candidate: its own wish for more is bound too, and what it has keeps working.
    expect((await register(limb, 'cam1')).status).toBe('approved')
    const admin = await app.admin()
    await admin.do('admin', 'node/provision', { nodeId: 'cam2' })
  })

  it('of changes to one request ends in a refusal, and writes a bounded number of rows', async () => {
    await using app = await startApp({}, { fakeClock: true })
    const { device } = await claim(app, 'cam1', keyOf('cam1'))
    const statuses: string[] = []
    for (let i = 0; i < 40; i++) {
      // A candidate may send a few messages a second.
      app.clock.advance(500)
      const answer = await register(device, 'cam1', { ...REGISTRATION, firmware: `1.${i}` })
      statuses.push(answer.error?.code ?? answer.status)
    }
    expect(statuses.filter((status) => status === 'pending').length).toBeGreaterThanOrEqual(30)
    expect(statuses.at(-1)).toBe('too_many_requests')
    const { items } = await (await app.admin()).do('admin', 'pairing/list')
    expect(items[0].revision).toBeLessThanOrEqual(32)
    app.clock.advance(60_000)
    expect((await register(device, 'cam1', { ...REGISTRATION, firmware: '2' })).status).toBe('pending')
  })

  it('of changes by an approved limb is refused too, while it stays online', async () => {
    await using app = await startApp({}, { fakeClock: true })
    const limb = await app.limb('cam1')
    const statuses: string[] = []
    for (let i = 0; i < 40; i++) {
      // All within the minute, and no more a second than a limb may send.
      app.clock.advance(500)
      const answer = await register(limb, 'cam1', { ...REGISTRATION, firmware: `1.${i}` })
      statuses.push(answer.error?.code ?? answer.status)
    }
    expect(statuses.filter((status) => status === 'approved').length).toBe(30)
    // The same again is no change.
    expect((await register(limb, 'cam1', { ...REGISTRATION, firmware: '1.29' })).status).toBe('approved')
  })

  it('of one candidate is read slowly: a few messages a second', async () => {
    await using app = await startApp()
    const { device } = await claim(app, 'cam1', keyOf('cam1'))
    const began = performance.now()
    await Promise.all(
      Array.from({ length: 40 }, () => device.publish('limb/node/cam1/register', REGISTRATION)),
    )
    // 20 at once, then 10 a second.
    expect(performance.now() - began).toBeGreaterThan(1500)
  })
})

describe('guessing', () => {
  it('at keys tells nothing: a wrong key of a limb and an unknown limb look alike', async () => {
    await using app = await startApp()
    await app.limb('cam1')
    const seen: unknown[] = []
    for (const nodeId of ['cam1', 'cam9']) {
      const guess = await app.device(nodeId, 'guess-guess-guess-guess')
      seen.push([
        await guess.subscribe(`limb/node/${nodeId}/invoke`),
        await guess.subscribe(`limb/node/${nodeId}/state`),
        await guess.subscribe(`limb/node/${nodeId}/pairing`),
        guess.mqtt.connected,
      ])
      guess.cut()
    }
    expect(seen[0]).toEqual(seen[1])
  })

  it('at codes hits nothing: each key has its own code, salted by the bridge', async () => {
    await using app = await startApp()
    const codes = new Set<string>()
    for (let i = 0; i < 10; i++) codes.add((await claim(app, 'cam1', keyOf(`guess${i}`))).answer.code)
    expect(codes.size).toBe(10)
    // The same key on another bridge has another code: nobody can search for a key with a given code beforehand.
    await using other = await startApp()
    expect(codes).not.toContain((await claim(other, 'cam1', keyOf('guess0'))).answer.code)
  })

  it('at request ids helps no candidate: it cannot ask for anything', async () => {
    await using app = await startApp()
    const { device, answer } = await claim(app, 'cam1', keyOf('cam1'))
    const { requestId } = answer
    for (const name of ['cam1', 'admin']) {
      expect(await device.subscribe(`limb/principal/${name}/response/#`)).toEqual([128])
      await device.publish(`limb/principal/${name}/request/pairing/approve`, { requestId })
    }
    await device.settle()
    expect((await (await app.admin()).do('admin', 'pairing/list')).items.length).toBe(1)
  })
})

describe('changing the request', () => {
  it('between the look and the approval is a conflict, whoever decides', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    const { device, answer } = await claim(app, 'cam1', keyOf('cam1'))
    const [looked] = (await admin.do('admin', 'pairing/list')).items
    await register(device, 'cam1', widened(20))
    const { requestId } = answer
    const { revision } = looked
    const stale = await admin.ask('admin', 'pairing/approve', { requestId, revision })
    expect(stale.error.code).toBe('conflict')
    expect((await admin.ask('admin', 'node/get', { nodeId: 'cam1' })).error.code).toBe('not_found')
  })

  it('is not possible for anybody but its claimant', async () => {
    await using app = await startApp()
    const { answer } = await claim(app, 'cam1', keyOf('cam1'))
    await claim(app, 'cam1', 'another-key-of-some-length', widened(20))
    const { items } = await (await app.admin()).do('admin', 'pairing/list')
    const mine = items.find(({ requestId }: Loose) => requestId === answer.requestId)
    expect(mine).toMatchObject({ revision: 1, capabilities: [{ cap: 'camera' }] })
  })

  it('the log tells how to approve what it saw, once a minute, and nothing newer', async () => {
    await using app = await startApp({}, { fakeClock: true })
    const { device, answer } = await claim(app, 'cam1', keyOf('cam1'))
    await register(device, 'cam1', widened(3))
    app.clock.advance(60_000)
    const told = app.logLines.map(({ msg }) => String(msg)).filter((msg) => msg.includes('asks to be paired'))
    expect(told.map((msg) => /approve (\S+) --revision (\d+)$/.exec(msg)?.slice(1))).toEqual([
      [answer.requestId, '1'],
      [answer.requestId, '2'],
    ])
  })

  it('of an approved limb widens nothing before an operator says so', async () => {
    await using app = await startApp()
    const limb = await app.limb('cam1')
    const answer = await register(limb, 'cam1', {
      ...REGISTRATION,
      capabilities: [
        { cap: 'camera', commands: ['camera.snap', 'camera.format'], authLevel: 'free' },
        { cap: 'door', commands: ['door.open'], authLevel: 'free' },
      ],
    })
    expect(answer.capabilities).toEqual(REGISTRATION.capabilities)
    const state = await (await app.admin()).do('admin', 'node/get', { nodeId: 'cam1' })
    expect(state.capabilities).toMatchObject(REGISTRATION.capabilities)
  })
})

describe('a replay', () => {
  it('of an approval approves nothing: a request is decided once', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    const { answer } = await claim(app, 'cam1', keyOf('cam1'))
    const args = { requestId: answer.requestId, revision: 1 }
    await admin.do('admin', 'pairing/approve', args)
    await admin.do('admin', 'node/revoke', { nodeId: 'cam1' })
    expect((await admin.ask('admin', 'pairing/approve', args)).error.code).toBe('conflict')
    expect((await admin.do('admin', 'node/list')).items).toEqual([])
  })

  it('of a rejected key is refused, after a restart too, and a new key is a new request', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    const { answer } = await claim(app, 'cam1', keyOf('cam1'))
    await admin.do('admin', 'pairing/reject', { requestId: answer.requestId })
    await app.restart()
    await expect(app.device('cam1', keyOf('cam1'))).rejects.toMatchObject({ code: 5 })
    const again = await claim(app, 'cam1', 'another-key-of-some-length')
    expect(again.answer.requestId).not.toBe(answer.requestId)
  })

  it('of the approval that another operator already gave changes nothing', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    const { answer } = await claim(app, 'cam1', keyOf('cam1'))
    const answers = await Promise.all(
      [1, 2, 3].map(() => admin.ask('admin', 'pairing/approve', { requestId: answer.requestId })),
    )
    expect(answers.filter(({ ok }) => ok).length).toBe(1)
  })
})

describe('taking over a live session', () => {
  it('needs its key: neither its name nor its client id ends it', async () => {
    await using app = await startApp()
    await (await app.limb('cam1')).end()
    const live = await app.device('cam1', keyOf('cam1'), { clientId: 'esp32-cam1' })
    await app.device('cam1', 'a-guess-of-some-length-1')
    for (const [name, key] of [
      ['cam1', 'a-guess-of-some-length-2'],
      ['cam2', keyOf('cam2')],
    ] as const) {
      // An id belongs to nobody: whoever comes with it is a session of its own.
      const stranger = await app.device(name, key, { clientId: 'esp32-cam1' })
      expect(await isLimb(stranger, name)).toBe(false)
    }
    await live.settle()
    expect(live.mqtt.connected).toBe(true)
    expect(await isLimb(live, 'cam1')).toBe(true)
  })

  it('of a principal needs its password', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    await admin.do('admin', 'principal/add', { name: 'ops', role: 'operator', password: 'ops-password' })
    const ops = await app.principal('ops', 'ops-password', { clientId: 'ops-dash' })
    await expect(app.principal('ops', 'wrong', { clientId: 'ops-dash' })).rejects.toMatchObject({ code: 4 })
    await app.device('cam1', keyOf('cam1'), { clientId: 'ops-dash' })
    await ops.settle()
    expect(ops.mqtt.connected).toBe(true)
  })

  it('by a claim that an operator has not approved changes nothing for the limb', async () => {
    await using app = await startApp()
    const limb = await app.limb('cam1')
    const { answer } = await claim(app, 'cam1', 'another-key-of-some-length')
    expect(answer.status).toBe('pending')
    const { items } = await (await app.admin()).do('admin', 'pairing/list')
    expect(items[0].kind).toBe('replace')
    await limb.publish('limb/node/cam1/heartbeat')
    await limb.settle()
    expect((await (await app.admin()).do('admin', 'node/get', { nodeId: 'cam1' })).status).toBe('online')
  })
})

describe('stealing a key', () => {
  it('that the bridge made is not possible by registering the same name: it is told to one connection', async () => {
    await using app = await startApp()
    const victim = await claim(app, 'cam1')
    const thief = await claim(app, 'cam1')
    const key = victim.answer.apiKey
    expect(key).toHaveLength(43)
    expect(thief.answer.apiKey).not.toBe(key)
    for (let i = 0; i < 3; i++)
      expect(JSON.stringify(await register(thief.device, 'cam1'))).not.toContain(key)
    // Not even to the victim again, nor to those who may read everything.
    expect(JSON.stringify(await register(victim.device, 'cam1'))).not.toContain(key)
    const admin = await app.admin()
    await admin.subscribe('limb/bridge/#')
    await admin.do('admin', 'pairing/approve', { requestId: victim.answer.requestId })
    await admin.settle()
    expect(JSON.stringify(admin.waiting)).not.toContain(key)
    expect(JSON.stringify(app.logLines)).not.toContain(key)
    expect((await thief.device.next('limb/node/cam1/pairing')).json).toEqual({ status: 'rejected' })
  })

  it('by a new connection with the name of a limb whose key was rotated gets nothing', async () => {
    await using app = await startApp()
    await app.limb('cam1')
    const thief = await claim(app, 'cam1')
    const { apiKey } = await (await app.admin()).do('admin', 'node/rotate-key', { nodeId: 'cam1' })
    await thief.device.settle()
    expect(JSON.stringify(thief.device.waiting)).not.toContain(apiKey)
  })

  it('by reading what lies on disk gets hashes', async () => {
    await using app = await startApp()
    await app.limb('cam1')
    const made = await claim(app, 'cam2')
    const secrets = [keyOf('cam1'), made.answer.apiKey as string]
    await app.bridge.stop()
    const files = readdirSync(app.folder).filter((name) => name.startsWith('limb.sqlite'))
    expect(files.length).toBeGreaterThan(0)
    for (const name of files) {
      const bytes = readFileSync(join(app.folder, name))
      for (const secret of secrets) expect(bytes.includes(secret)).toBe(false)
    }
  })
})

describe('what is left behind', () => {
  it('by a revoked limb is gone: its successor of the same name inherits nothing', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    const first = await app.limb('cam1')
    await first.publish('limb/node/cam1/data/secret', 'of the first', { qos: 1, retain: true })
    await admin.do('admin', 'policy/set', {
      principal: 'bot',
      nodeId: 'cam1',
      capability: '*',
      level: 'free',
    })
    await admin.do('admin', 'node/revoke', { nodeId: 'cam1' })
    await app.limb('cam1', REGISTRATION, 'another-key-of-some-length')
    const viewer = await app.admin()
    await viewer.subscribe('limb/node/cam1/data/#')
    await viewer.settle()
    expect(viewer.waiting.filter(({ topic }) => topic.includes('/data/'))).toEqual([])
    expect((await admin.do('admin', 'policy/list')).items).toEqual([])
  })

  it('by a candidate is nothing: its retain flag, its last words and its session are not kept', async () => {
    await using app = await startApp()
    const candidate = await app.device('cam1', keyOf('cam1'), {
      clean: false,
      clientId: 'stays',
      will: { topic: 'limb/node/cam1/data/x', payload: Buffer.from('boo'), retain: true, qos: 1 },
    })
    await candidate.publish('limb/node/cam1/register', 'boo', { qos: 1, retain: true })
    await candidate.publish('limb/node/cam1/data/x', 'boo', { qos: 1, retain: true })
    candidate.cut()
    // The client id is free for somebody else: nothing was stored under it.
    const other = await app.device('cam2', keyOf('cam2'), { clientId: 'stays' })
    await other.settle()
    const admin = await app.admin()
    await admin.subscribe(['limb/node/+/data/#', 'limb/node/+/status'])
    await admin.settle()
    expect(admin.waiting).toEqual([])
  })

  it('in the queue of a replaced device is not delivered to the new one', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    await (await app.limb('cam1')).end()
    const old = await app.device('cam1', keyOf('cam1'), { clean: false, clientId: 'esp32' })
    await old.subscribe('limb/node/cam1/invoke')
    await old.end()
    const fresh = await claim(app, 'cam1', 'another-key-of-some-length')
    await admin.do('admin', 'pairing/approve', { requestId: fresh.answer.requestId })
    await fresh.device.end()
    const back = await app.device('cam1', 'another-key-of-some-length', { clean: false, clientId: 'esp32' })
    await back.settle()
    expect(back.waiting).toEqual([])
  })
})
