import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { SignInLimits } from '../../../src/bridge/sign-in/limits.ts'
import { systemClock } from '../../../src/kernel/clock.ts'
import { newToken } from '../../../src/kernel/token.ts'
import { openDatabase } from '../../../src/store/sqlite/database.ts'
import { createStore } from '../../../src/store/sqlite/store.ts'
import { keyOf, startApp, type TestApp } from '../../support/app.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const SILENT = { debug() {}, info() {}, warn() {}, error() {} }
const SETTINGS = { maxFailedSignIns: 10, failedSignInSeconds: 300 }

function limits() {
  const clock = new FakeClock()
  const all = new SignInLimits(clock, SETTINGS)
  const fail = (times: number, name: string, address: string | ((i: number) => string)) => {
    for (let i = 0; i < times; i++) all.failed(name, typeof address === 'string' ? address : address(i))
  }
  return { clock, all, fail, wait: (name: string, address: string) => all.waitMs(name, address) }
}

describe('wrong passwords', () => {
  it('cost nothing twice, then a wait that grows, then a refusal for a while', () => {
    const { all, clock, wait } = limits()
    const waits: number[] = []
    for (let i = 0; i < 10; i++) {
      all.failed('ops', '10.0.0.1')
      waits.push(wait('ops', '10.0.0.1') / 1000)
      clock.advance(wait('ops', '10.0.0.1'))
    }
    expect(waits).toEqual([0, 0, 1, 2, 4, 8, 16, 32, 60, 300])
    expect(wait('ops', '10.0.0.1')).toBe(0)
    // What was long ago is forgotten.
    clock.advance(300_000)
    all.failed('ops', '10.0.0.1')
    expect(wait('ops', '10.0.0.1')).toBe(0)
  })

  it('are forgotten with the right one', () => {
    const { all, fail, wait, clock } = limits()
    fail(5, 'ops', '10.0.0.1')
    clock.advance(60_000)
    all.succeeded('ops', '10.0.0.1')
    fail(2, 'ops', '10.0.0.1')
    expect(wait('ops', '10.0.0.1')).toBe(0)
  })

  it('shut out that name from that address, and no other name or address', () => {
    const { fail, wait } = limits()
    fail(10, 'ops', '10.0.0.1')
    expect(wait('ops', '10.0.0.1')).toBe(300_000)
    expect(wait('dash', '10.0.0.1')).toBe(0)
    expect(wait('ops', '10.0.0.2')).toBe(0)
  })

  it('of many names shut out their address, but never a proxy on this machine', () => {
    const { all, fail, wait } = limits()
    for (let i = 0; i < 100; i++) fail(1, `name${i}`, '10.0.0.1')
    expect(wait('ops', '10.0.0.1')).toBe(300_000)
    for (let i = 0; i < 100; i++) all.failed(`name${i}`, '127.0.0.1')
    expect(wait('ops', '127.0.0.1')).toBe(0)
  })

  it('from many addresses shut nobody out at an address that was known before a restart', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    await admin.do('admin', 'principal/add', {
      name: 'ha',
      role: 'viewer',
      password: 'correct horse battery',
    })
    await app.principal('ha', 'correct horse battery')
    const stored = () => app.sql('SELECT name, address FROM principal_addresses')
    await expect.poll(stored).toEqual([{ name: 'ha', address: '127.0.0.1' }])
    await app.restart()

    const database = openDatabase({ file: join(app.folder, 'copy.sqlite'), clock: systemClock, log: SILENT })
    onTestFinished(() => database.close())
    const store = createStore(database)
    await store.transact((tx) =>
      tx.putPrincipal({ name: 'ha', role: 'viewer', passwordHash: 'x', createdAt: 1, createdBy: 'admin' }),
    )
    for (let i = 0; i < 20; i++)
      await store.saveKnownAddress({ name: 'ha', address: `10.0.0.${i}`, usedAt: i })
    await store.saveKnownAddress({ name: 'nobody', address: '10.0.0.1', usedAt: 1 })
    const known = await store.knownAddresses()
    expect(known.map(({ address }) => address)).toEqual(
      Array.from({ length: 16 }, (_, i) => `10.0.0.${i + 4}`),
    )
    const { all, fail, wait } = limits()
    for (const each of known) all.knows(each)
    fail(100, 'ha', (i) => `10.1.${i}.1`)
    expect(wait('ha', '10.0.0.9')).toBe(0)
    expect(wait('ha', '10.9.9.9')).toBe(300_000)
    await store.transact((tx) => tx.deletePrincipal('ha'))
    expect(await store.knownAddresses()).toEqual([])
  })

  it('from many addresses shut the name for all but those it was known at', () => {
    const { all, fail, wait } = limits()
    all.succeeded('ops', '10.9.9.9')
    fail(100, 'ops', (i) => `10.0.1.${i}`)
    expect(wait('ops', '10.0.2.1')).toBe(300_000)
    expect(wait('ops', '10.9.9.9')).toBe(0)
    expect(wait('dash', '10.0.2.1')).toBe(0)
  })

  it('say once whom they shut out, and again when it begins anew', () => {
    const { all, fail, clock } = limits()
    const last = (name: string, address: string) => all.failed(name, address).map(({ whom }) => whom)
    fail(9, 'ops', '10.0.0.1')
    expect(all.failed('ops', '10.0.0.1')).toEqual([{ whom: 'name at address', failures: 10, seconds: 300 }])
    // Two hashes may have been under way.
    expect(last('ops', '10.0.0.1')).toEqual([])
    clock.advance(300_000)
    fail(9, 'ops', '10.0.0.1')
    expect(last('ops', '10.0.0.1')).toEqual(['name at address'])
    fail(89, 'dash', (i) => `10.0.1.${i}`)
    for (let i = 0; i < 10; i++) fail(1, 'dash', `10.0.2.${i}`)
    expect(last('dash', '10.0.3.1')).toEqual(['name'])
  })

  it('from one IPv6 network are those of one address', () => {
    const { fail, wait } = limits()
    fail(10, 'ops', (i) => `2001:db8:0:7:${i}::1`)
    expect(wait('ops', '2001:db8:0:7::ffff')).toBe(300_000)
    expect(wait('ops', '2001:db8:0:8::1')).toBe(0)
  })

  it('cost a bounded memory, however many names and addresses', () => {
    const { all } = limits()
    for (let i = 0; i < 200_000; i++) all.failed(`name${i}`, `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)
    expect(all.size).toBeLessThanOrEqual(10_001)
    expect(all.waitMs('name199999', '10.3.13.63')).toBe(0)
  })
})

async function withOps(app: TestApp): Promise<void> {
  const admin = await app.admin()
  await admin.do('admin', 'principal/add', { name: 'ops', role: 'operator', password: 'ops-password' })
}

/** The CONNACK code of a sign-in. */
async function codeOf(app: TestApp, name: string, password: string | Buffer): Promise<number> {
  try {
    await (await app.principal(name, password)).end()
    return 0
  } catch (error) {
    return (error as { code: number }).code
  }
}

describe('a bridge under guessing', () => {
  it('says code 4 to a wrong password, then code 3 without looking at it, and lets the right one in later', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    await withOps(app)
    const codes: number[] = []
    for (let i = 0; i < 4; i++) codes.push(await codeOf(app, 'ops', 'wrong'))
    expect(codes).toEqual([4, 4, 4, 3])
    expect(await codeOf(app, 'ops', 'ops-password')).toBe(3)
    app.clock.advance(1000)
    expect(await codeOf(app, 'ops', 'ops-password')).toBe(0)
  })

  it('shuts out neither the session that is there, nor limbs and candidates, nor the control socket', async () => {
    await using app = await startApp({ mqtt: { port: 0, maxFailedSignIns: 1 } } as never, { memory: true })
    const limb = await app.limb('cam1')
    await withOps(app)
    const ops = await app.principal('ops', 'ops-password')
    expect(await codeOf(app, 'ops', 'wrong')).toBe(4)
    expect(await codeOf(app, 'ops', 'ops-password')).toBe(3)
    expect((await ops.ask('ops', 'node/list')).ok).toBe(true)
    await limb.end()
    await (await app.device('cam1', keyOf('cam1'))).settle()
    // A wrong key of a limb is no wrong password, however often.
    for (let i = 0; i < 20; i++) await (await app.device('cam1', keyOf('cam9'))).end()
    const back = await app.device('cam1', keyOf('cam1'))
    expect(await back.subscribe('limb/node/cam1/invoke')).toEqual([1])
    expect((await (await app.admin({ username: 'ops' })).ask('ops', 'node/list')).ok).toBe(true)
  })

  it('computes few hashes for a crowd that comes at once', async () => {
    await using app = await startApp({ mqtt: { port: 0, maxFailedSignIns: 3 } } as never, {
      memory: true,
      costlyPasswords: true,
    })
    await withOps(app)
    const codes = await Promise.all(Array.from({ length: 30 }, () => codeOf(app, 'ops', 'wrong')))
    expect(codes.filter((code) => code === 4).length).toBeLessThanOrEqual(5)
    expect(codes.filter((code) => code === 3).length).toBeGreaterThanOrEqual(25)
  })

  it('says who is shut out when it begins, and the number of refusals that it did not log when a minute is over', async () => {
    await using app = await startApp({ mqtt: { maxFailedSignIns: 2 } }, { fakeClock: true, memory: true })
    await withOps(app)
    for (let i = 0; i < 5; i++) await codeOf(app, 'ops', 'wrong')
    app.clock.advance(60_000)
    const about = app.logLines.filter(({ name, address }) => name === 'ops' && address)
    const shutOut =
      'ops from 127.0.0.1 is shut out for 300 s after 2 wrong passwords (mqtt.maxFailedSignIns, mqtt.failedSignInSeconds)'
    expect(about).toMatchObject([
      { level: 'warn', msg: 'sign-in refused: wrong password', suppressed: 0 },
      { level: 'warn', msg: shutOut, address: '127.0.0.1' },
      {
        level: 'warn',
        msg: expect.stringMatching(/^sign-in refused: too many wrong passwords/),
        suppressed: 3,
      },
    ])
    const { items } = await (await app.admin()).do('admin', 'audit/list')
    expect(items.map(({ detail }: { detail: { reason: string } }) => detail.reason)).toContain(shutOut)
  })

  it('counts the refusals by reason, and logs them once', async () => {
    await using app = await startApp({ http: { enabled: true, port: 0 } }, { fakeClock: true, memory: true })
    await withOps(app)
    for (let i = 0; i < 6; i++) await codeOf(app, 'ops', 'wrong')
    await codeOf(app, 'no such+name', 'x')
    await app.limb('cam1')
    await (await app.device('cam1', keyOf('cam2'))).end()
    const text = await (await fetch(`http://127.0.0.1:${app.bridge.http?.port}/metrics`)).text()
    expect(text).toContain('limb_sign_ins_refused_total{reason="password"} 3')
    expect(text).toContain('limb_sign_ins_refused_total{reason="too_many"} 3')
    expect(text).toContain('limb_sign_ins_refused_total{reason="name"} 1')
    expect(text).toContain('limb_wrong_keys_total 1')
    const lines = app.logLines.filter(({ msg }) => String(msg).startsWith('sign-in refused'))
    expect(lines.map(({ name }) => name)).toEqual(['ops', '(no name, 12 characters)'])
  })

  it('refuses a password that is no text to everybody, and says what to send instead', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    const raw = Buffer.from([0xde, 0xad, 0xbe, 0xef])
    for (const name of ['cam1', 'cam1', 'admin']) expect(await codeOf(app, name, raw)).toBe(4)
    const lines = app.logLines.filter(({ msg }) => String(msg).startsWith('sign-in refused'))
    expect(lines).toMatchObject([
      { name: 'cam1', address: '127.0.0.1', reason: expect.stringContaining('is not UTF-8; send a key') },
      { name: 'admin' },
    ])
    const { items } = await (await app.admin()).do('admin', 'audit/list', { kind: 'signin.refused' })
    expect(items).toHaveLength(2)
  })

  it('keeps no user name that can be nobody’s: it may be a password in the wrong field', async () => {
    await using app = await startApp({}, { fakeClock: true, memory: true })
    const admin = await app.admin()
    await admin.subscribe('limb/bridge/event/sign_in_refused')
    const typed = 'correct horse, battery!'
    expect(await codeOf(app, typed, '')).toBe(4)
    expect(await codeOf(app, typed, Buffer.from([0xff]))).toBe(4)
    const { json } = await admin.next('limb/bridge/event/sign_in_refused')
    expect(json.name).toBe('(no name, 23 characters)')
    const { items } = await admin.do('admin', 'audit/list', { kind: 'signin.refused' })
    expect(items).toHaveLength(1)
    expect(JSON.stringify([items, app.logLines])).not.toContain('battery')
  })
})

it('keeps no user name that is a token, or that came with the name of a principal as its password', async () => {
  await using app = await startApp({}, { fakeClock: true, memory: true })
  const admin = await app.admin()
  await admin.subscribe('limb/bridge/event/sign_in_refused')
  await admin.do('admin', 'principal/add', { name: 'ops', role: 'operator', password: 'Tr0ub4dor-and-3' })
  const { token } = await admin.do('admin', 'token/add', { name: 'phone', principal: 'ops' })
  // Both have the form of a nodeId.
  for (const [name, password, told] of [
    ['Tr0ub4dor-and-3', 'ops', '(no name, 15 characters)'],
    [token, '', '(no name, 40 characters)'],
    [token, 'a-key-of-a-device-or-what', '(no name, 40 characters)'],
    [token, Buffer.from([0xff]), '(no name, 40 characters)'],
    [token, token, '-'],
    // One that was cut or mistyped is as secret as a whole one, and gives nobody's password away.
    [token.slice(0, -1), 'a-key-of-a-device-or-what', '(no name, 39 characters)'],
    ['Tr0ub4dor-and-3', token.slice(0, -1), '(no name, 15 characters)'],
  ]) {
    expect(await codeOf(app, name, password)).toBe(4)
    expect((await admin.next('limb/bridge/event/sign_in_refused')).json.name).toBe(told)
    app.clock.advance(61_000)
  }
  const { items } = await admin.do('admin', 'audit/list', { kind: 'signin.refused' })
  const why = await admin.do('admin', 'node/why', { nodeId: 'Tr0ub4dor-and-3' })
  expect(why.lastRefused).toBeUndefined()
  const kept = JSON.stringify([items, app.logLines])
  expect(kept).not.toContain('Tr0ub4dor')
  expect(kept).not.toContain(token.slice(0, -1))
  // A device's password may be whatever is nobody's name.
  expect(await codeOf(app, 'cam1', 'ops2')).toBe(0)
  expect(await codeOf(app, 'cam1', 'cam1')).toBe(0)
})

it('keeps no key of a limb that came as the user name, with the name of the limb as the password', async () => {
  await using app = await startApp({}, { fakeClock: true, memory: true })
  const admin = await app.admin()
  const { apiKey } = await admin.do('admin', 'node/provision', { nodeId: 'cam1' })
  const { apiKey: next } = await admin.do('admin', 'node/rotate-key', { nodeId: 'cam1' })
  for (const key of [apiKey, next].filter((each) => /^[A-Za-z0-9]/.test(each))) {
    expect(await codeOf(app, key, 'cam1')).toBe(4)
    const why = await admin.do('admin', 'node/why', { nodeId: key })
    expect(why.lastRefusedSignIn).toBeUndefined()
    const { items } = await admin.do('admin', 'audit/list', { kind: 'signin.refused' })
    expect(JSON.stringify([items, app.logLines])).not.toContain(key)
    app.clock.advance(61_000)
  }
  // Nobody else learns from it which limbs there are.
  for (const nodeId of ['cam1', 'cam2'])
    expect(await codeOf(app, 'a-key-of-a-device-or-what', nodeId)).toBe(0)
})

it('of a token that is none it tells the name of a principal alone', async () => {
  await using app = await startApp({}, { fakeClock: true, memory: true })
  const admin = await app.admin()
  await admin.do('admin', 'principal/add', { name: 'ops', role: 'operator', password: 'Tr0ub4dor-and-3' })
  await admin.subscribe('limb/bridge/event/sign_in_refused')
  for (const [name, told] of [
    ['ops', 'ops'],
    ['Tr0ub4dor-and-3', '-'],
  ]) {
    expect(await codeOf(app, String(name), newToken())).toBe(4)
    expect((await admin.next('limb/bridge/event/sign_in_refused')).json.name).toBe(told)
  }
  const { items } = await admin.do('admin', 'audit/list', { kind: 'signin.refused' })
  expect(JSON.stringify([items, app.logLines])).not.toContain('Tr0ub4dor')
})

describe('the control socket', () => {
  it.each([
    'role:agnt',
    'Role:agent',
    'role: agent',
    ' role:agent',
    'role:agent ',
    'role=agent',
    'agent',
    'ro1e:agent',
    'role:',
    'role:viewer,agent',
    Buffer.from([0xff, 0xfe]),
  ])('refuses %j, which is no role', async (password) => {
    await using app = await startApp({}, { memory: true })
    await expect(app.admin({ username: 'ops', password })).rejects.toMatchObject({ code: 4 })
  })

  it('refuses a token as the user name, and keeps it nowhere', async () => {
    await using app = await startApp({}, { memory: true })
    const token = newToken()
    await expect(app.admin({ username: token })).rejects.toMatchObject({ code: 4 })
    const { items } = await (await app.admin()).do('admin', 'audit/list')
    expect(JSON.stringify([items, app.logLines])).not.toContain(token)
  })

  it.each(['provisioned', 'approved'])(
    'ends who is there under a name that becomes a limb’s (%s)',
    async (how) => {
      await using app = await startApp({}, { memory: true })
      const admin = await app.admin()
      const named = await app.admin({ username: 'cam1' })
      const other = await app.admin({ username: 'cam2' })
      const ended = named.ended()
      if (how === 'provisioned') await admin.do('admin', 'node/provision', { nodeId: 'cam1' })
      else await app.limb('cam1')
      await ended
      expect((await other.ask('cam2', 'node/list')).ok).toBe(true)
      await expect(app.admin({ username: 'cam1' })).rejects.toMatchObject({ code: 4 })
    },
  )

  it('refuses the name of a limb in every role, and takes it when the limb is gone', async () => {
    await using app = await startApp({}, { memory: true })
    await app.limb('cam1')
    await expect(app.admin({ username: 'cam1' })).rejects.toMatchObject({ code: 4 })
    await expect(app.admin({ username: 'cam1', password: 'role:viewer' })).rejects.toMatchObject({ code: 4 })
    await (await app.admin()).do('admin', 'node/revoke', { nodeId: 'cam1' })
    expect((await (await app.admin({ username: 'cam1' })).ask('cam1', 'node/list')).ok).toBe(true)
  })
})
