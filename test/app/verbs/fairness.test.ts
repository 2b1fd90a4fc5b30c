import { describe, expect, test } from 'vitest'
import { startApp, type TestApp } from '../../support/app.ts'
import type { TestClient } from '../../support/client.ts'
import { patience } from '../../support/patience.ts'

/** Work is what is limited, and it is fair. */

async function principals(app: TestApp, roles: Readonly<Record<string, string>>) {
  const admin = await app.admin()
  for (const [name, role] of Object.entries(roles))
    await admin.do('admin', 'principal/add', { name, role, password: `${name}-password` })
  return { admin, signIn: (name: string) => app.principal(name, `${name}-password`) }
}

describe('a principal that asks for more than its time', () => {
  test('is held back and named, and others are answered meanwhile', {
    timeout: patience(30_000),
  }, async () => {
    await using app = await startApp({ mqtt: { port: 0, maxWorkMsPerSecond: 10 } }, { memory: true })
    const { admin, signIn } = await principals(app, { greedy: 'viewer', dash: 'viewer' })
    const dash = await signIn('dash')
    const sessions = await Promise.all(Array.from({ length: 6 }, () => signIn('greedy')))
    const [greedy] = sessions
    await greedy?.subscribe('limb/principal/greedy/response/#')
    const flood = sessions.flatMap((session) =>
      Array.from({ length: 300 }, () =>
        session.publish('limb/principal/greedy/request/node/list', { limit: 1000 }).catch(() => {}),
      ),
    )
    const started = performance.now()
    expect((await dash.ask('dash', 'node/list')).ok).toBe(true)
    expect((await admin.ask('admin', 'node/list')).ok).toBe(true)
    expect(performance.now() - started).toBeLessThan(patience(2500))
    await expect
      .poll(async () => (await greedy?.next('limb/principal/greedy/response/node/list'))?.json.error?.code, {
        timeout: patience(15_000),
        interval: 0,
      })
      .toBe('too_many_requests')
    const lines = app.logLines.filter(({ msg }) => String(msg).includes('is held back'))
    expect(lines[0]).toMatchObject({ principal: 'greedy', level: 'warn' })
    for (const session of sessions) session.mqtt.end(true)
    await Promise.all(flood)
  })
})

test('what a session is refused for its pace is told to it alone, and to its other sessions where it does not listen', async () => {
  await using app = await startApp({ mqtt: { port: 0, maxWorkMsPerSecond: 10 } }, { memory: true })
  const { signIn } = await principals(app, { greedy: 'viewer' })
  const responses = 'limb/principal/greedy/response/#'
  const ask = 'limb/principal/greedy/request/node/list'
  const [asks, listens, deaf] = [await signIn('greedy'), await signIn('greedy'), await signIn('greedy')]
  await asks.subscribe(responses)
  await listens.subscribe(responses)
  const refusal = (client: TestClient) => client.next(({ json }) => json.error?.code === 'too_many_requests')
  // More than a quick machine does in the time that a principal has saved up.
  const flood = Array.from({ length: 1500 }, () => asks.publish(ask, {}).catch(() => {}))
  await refusal(asks)
  const alsoFlood = Array.from({ length: 1500 }, () =>
    deaf.publish(ask, { transaction: 'deaf' }).catch(() => {}),
  )
  expect((await refusal(listens)).json.transaction).toBe('deaf')
  for (const client of [asks, listens, deaf]) client.mqtt.end(true)
  await Promise.all([...flood, ...alsoFlood])
})

describe('what is refused again and again', () => {
  test('is one row and one line a minute for who and what, with a count', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    const { admin, signIn } = await principals(app, { dash: 'viewer', other: 'viewer' })
    const [dash, other] = [await signIn('dash'), await signIn('other')]
    const wish = { principal: '*', nodeId: '*', capability: '*', level: 'free' }
    for (let i = 0; i < 20; i++) await dash.ask('dash', 'policy/set', wish)
    await dash.ask('dash', 'principal/list')
    await other.ask('other', 'policy/set', wish)
    app.clock.advance(60_000)
    const { items } = await admin.do('admin', 'audit/list', { kind: 'request.refused', order: 'oldest' })
    expect(
      items.map(({ actor, detail }: { actor: string; detail: { verb: string; count?: number } }) => [
        actor,
        detail.verb,
        detail.count ?? 1,
      ]),
    ).toEqual([
      ['dash', 'policy/set', 1],
      ['dash', 'principal/list', 1],
      ['other', 'policy/set', 1],
      ['dash', 'policy/set', 19],
    ])
    expect(
      app.logLines.filter(
        ({ level, msg }) => level === 'warn' && String(msg).startsWith('policy/set refused'),
      ),
    ).toHaveLength(3)
  })

  test('is on record too when not the verb but what it was to do is beyond the role', async () => {
    await using app = await startApp({}, { memory: true })
    const { admin, signIn } = await principals(app, { dash: 'viewer', bot: 'agent' })
    const [dash, bot] = [await signIn('dash'), await signIn('bot')]
    await dash.ask('dash', 'token/add', { name: 'x', principal: 'admin' })
    await dash.ask('dash', 'pairing/list', { state: 'refused' })
    await bot.ask('bot', 'invoke', { command: 'a.b', nodeId: 'cam1', noCheck: true })
    const { items } = await admin.do('admin', 'audit/list', { kind: 'request.refused', order: 'oldest' })
    expect(items).toMatchObject([
      { actor: 'dash', detail: { verb: 'token/add', reason: expect.stringContaining('for admins') } },
      { actor: 'dash', detail: { verb: 'pairing/list', reason: expect.stringContaining('operators') } },
      { actor: 'bot', detail: { verb: 'invoke', reason: expect.stringContaining('noCheck') } },
    ])
  })

  test('cannot push decisions out of the audit log: after a hundred and twenty rows in an hour all of its own share one', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    const { admin, signIn } = await principals(app, { bot: 'agent' })
    const bot = await signIn('bot')
    for (let i = 0; i < 200; i++) await bot.ask('bot', 'invoke', { nodeId: `limb${i}`, command: 'x' })
    app.clock.advance(60_000)
    const { items } = await admin.do('admin', 'audit/list', { kind: 'invocation.refused', limit: 1000 })
    expect(items).toHaveLength(122)
    expect(items[0].detail.count).toBe(79)
    expect((await admin.do('admin', 'audit/list', { kind: 'principal.added' })).items).not.toHaveLength(0)
  })

  test('of one invocation, again and again, are one event a minute, with a count', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    const { admin, signIn } = await principals(app, { bot: 'agent' })
    await admin.subscribe('limb/bridge/event/invocation_refused')
    const bot = await signIn('bot')
    for (let i = 0; i < 50; i++) await bot.ask('bot', 'invoke', { nodeId: 'door', command: 'x' })
    const next = async () => (await admin.next('limb/bridge/event/invocation_refused')).json
    const event = { principal: 'bot', nodeId: 'door', command: 'x', error: 'not_found' }
    expect(await next()).toEqual({ kind: 'invocation_refused', at: expect.any(String), ...event })
    app.clock.advance(60_000)
    expect(await next()).toMatchObject({ ...event, count: 49 })
    await admin.settle()
    expect(admin.waiting).toEqual([])
  })

  test('hide nothing of what others try: each principal has rows of its own', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    const { admin, signIn } = await principals(app, { bot: 'agent', eve: 'agent' })
    const eve = await signIn('eve')
    for (let i = 0; i < 200; i++) await eve.ask('eve', 'invoke', { nodeId: `limb${i}`, command: 'x' })
    app.clock.advance(60_000)
    await eve.ask('eve', 'invoke', { nodeId: 'limb', command: 'x' })
    const bot = await signIn('bot')
    for (const nodeId of ['door', 'gate']) await bot.ask('bot', 'invoke', { nodeId, command: 'x' })
    const { items } = await admin.do('admin', 'audit/list', { kind: 'invocation.refused', limit: 2 })
    expect(items).toMatchObject([
      { actor: 'bot', nodeId: 'gate' },
      { actor: 'bot', nodeId: 'door' },
    ])
  })
})
