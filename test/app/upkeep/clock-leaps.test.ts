import { describe, expect, it } from 'vitest'
import { startApp, type TestApp } from '../../support/app.ts'
import type { TestClient } from '../../support/client.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const YEARS_MS = 54 * 365 * DAY_MS
const FREE = {
  displayName: 'Robot',
  platform: 'esp32',
  capabilities: [{ cap: 'arm', commands: ['arm.move'], authLevel: 'free' }],
}
const RETENTION = { invocationDays: 2, auditDays: 2, attemptDays: 2, historyDays: 2 }

/** Lets time pass in steps, so that chores run between them. */
async function pass(app: TestApp, ms: number, stepMs = HOUR_MS): Promise<void> {
  for (let left = ms; left > 0; left -= stepMs) {
    app.clock.advance(Math.min(stepMs, left))
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** The topics of the next messages, in alphabetical order. */
async function topics(client: TestClient, count: number): Promise<string[]> {
  const found: string[] = []
  while (found.length < count) found.push((await client.next(() => true)).topic)
  return found.toSorted()
}

async function robot(app: TestApp): Promise<TestClient> {
  const limb = await app.limb('r1', FREE)
  await limb.subscribe('limb/node/r1/invoke')
  await limb.publish('limb/node/r1/heartbeat', {}, { qos: 1 })
  return limb
}

async function invoked(app: TestApp, limb: TestClient, more: object = {}) {
  const admin = await app.admin()
  const answered = admin.ask('admin', 'invoke', { nodeId: 'r1', command: 'arm.move', ...more })
  const { json } = await limb.next('limb/node/r1/invoke')
  await limb.publish('limb/node/r1/result', { invocationId: json.invocationId, success: true })
  await answered
  await admin.end()
  return json.invocationId
}

const WHEN = ['while the bridge runs', 'between two starts']

describe.each([
  ['forward', YEARS_MS],
  ['back', -YEARS_MS],
])('a leap of the wall clock %s', (_which, leap) => {
  async function leaps(app: TestApp, when: string): Promise<void> {
    app.clock.jumpWall(leap)
    if (when === 'between two starts') await app.restart()
  }

  it.each(WHEN.map((when) => [when]))(
    'takes no invocation and no audit row early, and none late, %s',
    async (when) => {
      await using app = await startApp(
        { retention: RETENTION, backup: { everyHours: 0 }, presence: { saveSeconds: 1 } },
        { fakeClock: true },
      )
      const limb = await robot(app)
      const invocationId = await invoked(app, limb)
      await limb.end()
      await pass(app, DAY_MS)
      await leaps(app, when)
      const kept = async () => {
        const admin = await app.admin()
        const { items } = await admin.do('admin', 'audit/list', { kind: 'pairing.approved' })
        const listed = await admin.do('admin', 'invocation/list')
        const ids = listed.items.map((each: { invocationId: string }) => each.invocationId)
        await admin.end()
        return { audit: items.length, invocation: ids.includes(invocationId) }
      }
      await pass(app, DAY_MS - 2 * HOUR_MS)
      expect(await kept()).toEqual({ audit: 1, invocation: true })
      // Audit rows stay for a day longer than they must.
      await pass(app, DAY_MS + 4 * HOUR_MS)
      await expect
        .poll(async () => {
          await pass(app, HOUR_MS)
          return await kept()
        })
        .toEqual({ audit: 0, invocation: false })
    },
  )

  it.each(WHEN.map((when) => [when]))('frees no idempotency key early, and none late, %s', async (when) => {
    await using app = await startApp({ backup: { everyHours: 0 } }, { fakeClock: true })
    const limb = await robot(app)
    const key = { idempotencyKey: 'k1' }
    const first = await invoked(app, limb, key)
    await limb.end()
    await pass(app, DAY_MS / 2)
    await leaps(app, when)
    await pass(app, DAY_MS / 2 - HOUR_MS)
    const admin = await app.admin()
    const ask = () => admin.ask('admin', 'invoke', { nodeId: 'r1', command: 'arm.move', ...key })
    expect((await ask()).data).toMatchObject({ invocationId: first })
    await pass(app, HOUR_MS + 120_000)
    // Free again: it is looked at anew, and its limb is away.
    expect((await ask()).error).toMatchObject({ code: 'node_offline' })
  })

  it.each(WHEN.map((when) => [when]))('takes no message early, and none late, %s', async (when) => {
    const mqtt = { port: 0, grants: [{ to: 'viewer' as const, publish: ['t/#'], subscribe: ['t/#'] }] }
    await using app = await startApp({ mqtt, backup: { everyHours: 0 } }, { fakeClock: true })
    const admin = await app.admin()
    await admin.do('admin', 'principal/add', { name: 'ada', role: 'viewer', password: 'long enough' })
    const five = (clientId: string) =>
      app.principal('ada', 'long enough', {
        protocolVersion: 5,
        clientId,
        clean: false,
        properties: { sessionExpiryInterval: 1_000_000 },
      })
    for (const clientId of ['early', 'late']) {
      const away = await five(clientId)
      await away.subscribe('t/#')
      await away.end()
    }
    const sender = await app.principal('ada', 'long enough', { protocolVersion: 5 })
    for (const [topic, hours] of [
      ['t/long', 10],
      ['t/short', 2],
    ] as const)
      for (const retain of [false, true])
        await sender.publish(`${topic}/${retain}`, 'x', {
          qos: 1,
          retain,
          properties: { messageExpiryInterval: hours * 3600 },
        })
    await sender.end()
    await pass(app, HOUR_MS)
    await leaps(app, when)
    const all = ['t/long/false', 't/long/true', 't/short/false', 't/short/true']
    const early = await five('early')
    expect(await topics(early, 4)).toEqual(all)
    await pass(app, HOUR_MS)
    const late = await five('late')
    expect(await topics(late, 2)).toEqual(all.slice(0, 2))
    const asking = await app.principal('ada', 'long enough', { protocolVersion: 5 })
    await asking.subscribe('t/#')
    expect(await topics(asking, 1)).toEqual(['t/long/true'])
    await asking.publish('t/end', '')
    expect((await asking.next(() => true)).topic).toBe('t/end')
    expect((await late.next(() => true)).topic).toBe('t/end')
  })

  it('lets a sleepy limb sleep for its time, and no longer, over a restart', async () => {
    await using app = await startApp(
      { backup: { everyHours: 0 }, presence: { saveSeconds: 1 } },
      { fakeClock: true },
    )
    const limb = await app.limb('r1', { ...FREE, presence: 'sleepy', timeoutSeconds: 36_000 })
    await limb.publish('limb/node/r1/heartbeat', {}, { qos: 1 })
    await limb.end()
    await pass(app, HOUR_MS)
    app.clock.jumpWall(leap)
    await app.restart()
    const admin = await app.admin()
    const shown = () => admin.do('admin', 'node/get', { nodeId: 'r1' })
    const { status, lastHeartbeatAt } = await shown()
    expect(status).toBe('asleep')
    expect(app.clock.wallMs() - Date.parse(lastHeartbeatAt)).toBe(HOUR_MS)
    await pass(app, 8 * HOUR_MS)
    expect((await shown()).status).toBe('asleep')
    await pass(app, HOUR_MS + 60_000)
    expect((await shown()).status).toBe('offline')
  })

  it.each(WHEN.map((when) => [when]))(
    'changes nothing of what a limb was in its history but the times that are shown, %s',
    async (when) => {
      await using app = await startApp(
        { backup: { everyHours: 0 }, presence: { saveSeconds: 1 } },
        { fakeClock: true },
      )
      const limb = await app.limb('r1', { ...FREE, presence: 'connection' })
      await pass(app, HOUR_MS, 30_000)
      await limb.end()
      await pass(app, HOUR_MS)
      await leaps(app, when)
      await pass(app, HOUR_MS)
      const admin = await app.admin()
      const { items, ...rest } = await admin.do('admin', 'node/history', { nodeId: 'r1' })
      const now = app.clock.wallMs()
      const ages = items.map(({ at }: { at: string }) => Math.round((now - Date.parse(at)) / 60_000))
      expect(items[0]).toMatchObject({ status: 'offline', reason: 'disconnected' })
      expect(ages[0]).toBe(120)
      expect(Math.round((now - Date.parse(rest.since)) / HOUR_MS)).toBe(3)
      expect(rest.onlineSeconds).toBeLessThan(3700)
    },
  )

  it.each(WHEN.map((when) => [when]))('ends no idle session early, and none late, %s', async (when) => {
    const mqtt = { port: 0, sessionExpirySeconds: DAY_MS / 1000, maxKeepaliveSeconds: 65_535 }
    await using app = await startApp({ mqtt, backup: { everyHours: 0 } }, { fakeClock: true })
    const admin = await app.admin()
    await admin.do('admin', 'principal/add', { name: 'ada', role: 'viewer', password: 'long enough' })
    const away = await app.principal('ada', 'long enough', { clientId: 'ada-1', clean: false })
    await away.subscribe('limb/node/+/status')
    await away.end()
    await pass(app, DAY_MS / 2)
    await leaps(app, when)
    const known = async () => {
      const asking = await app.admin()
      const { items } = await asking.do('admin', 'session/list', { name: 'ada' })
      await asking.end()
      return items
    }
    await pass(app, DAY_MS / 2 - HOUR_MS)
    const [session] = await known()
    expect(session).toMatchObject({ clientId: 'ada-1', live: false })
    expect(Date.parse(session.since)).toBeLessThanOrEqual(app.clock.wallMs())
    await pass(app, 2 * HOUR_MS, 300_000)
    // Chores take turns, and some of them wait for a file system that no fake clock moves.
    await expect
      .poll(async () => {
        await pass(app, 300_000, 300_000)
        return await known()
      })
      .toEqual([])
  })
})
