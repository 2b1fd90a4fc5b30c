import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Authentication } from '../../src/bridge/ports.ts'
import { countedClock } from '../support/counted-clock.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { start, tempFolder, turn } from './fixture.ts'
import { type Connect, connectPacket, DISCONNECT, dial, PUBACK, publishPacket } from './wire.ts'

async function code(port: number, options: Connect): Promise<number> {
  const client = await dial({ port })
  client.send(connectPacket(options))
  const { code } = await client.connack()
  if (code === 0) client.send(DISCONNECT)
  await client.closed
  return code
}

const LIMB = { username: 'cam1', password: 'key' }

describe('CONNECT is answered with the code of the decision', () => {
  test.each([2, 3, 4, 5] as const)('%i', async (refused) => {
    const { port, core, broker } = await start()
    core.onAdmit = async () => ({ admitted: false, code: refused, reason: 'no' })
    expect(await code(port, {})).toBe(refused)
    expect(broker.counters.refused.credentials).toBe(1)
    expect(core.all('opened')).toEqual([])
  })
})

test('the core is told what CONNECT said', async () => {
  const { connect, core } = await start()
  await connect({ clientId: 'abc', username: 'ann', password: 'pässword' })
  expect(core.admitted).toEqual([
    {
      clientId: 'abc',
      username: 'ann',
      password: 'pässword',
      version: '3.1.1',
      address: '127.0.0.1',
      local: false,
      certificateName: undefined,
      isGone: expect.any(Function),
    },
  ])
})

describe('client ids', () => {
  test.each([
    ['an empty one with clean = false', { clientId: '', clean: false }, 2],
    ['an empty one with clean = true', { clientId: '' }, 0],
    ['one of 128 characters', { clientId: 'x'.repeat(128) }, 0],
    ['one of 129 characters', { clientId: 'x'.repeat(129) }, 2],
    ['__proto__', { clientId: '__proto__' }, 0],
    ['constructor', { clientId: 'constructor', clean: false }, 0],
    ['an empty one of MQTT 3.1', { clientId: '', protocol: 'MQIsdp', level: 3 }, 2],
  ] as const)('%s: code %o', async (_, options, expected) => {
    const { port } = await start()
    expect(await code(port, { username: 'viewer', ...options })).toBe(expected)
  })
})

describe('keepalive', () => {
  test('none, or one beyond the limit, is refused', async () => {
    const { port } = await start({ limits: { maxKeepaliveSeconds: 100 } })
    expect(await code(port, { keepalive: 0 })).toBe(2)
    expect(await code(port, { keepalive: 101 })).toBe(2)
    expect(await code(port, { keepalive: 100 })).toBe(0)
  })

  test('none is accepted where the configuration says so', async () => {
    const { port } = await start({ limits: { allowKeepaliveZero: true } })
    expect(await code(port, { keepalive: 0 })).toBe(0)
  })
})

test('of a password that is not UTF-8 the core is told that there is no text', async () => {
  const { port, core } = await start()
  const bytes = connectPacket({ username: 'a', password: 'x' })
  bytes[bytes.length - 1] = 0xff
  const client = await dial({ port })
  client.send(bytes)
  await client.connack()
  expect(core.admitted[0]).toMatchObject({ password: undefined, passwordIsBinary: true })
})

test('a core that does not decide in time, or fails, keeps nobody waiting', async () => {
  const { port, core, log } = await start({ limits: { admissionTimeoutMs: 50 } })
  core.onAdmit = () => new Promise<Authentication>(() => {})
  expect(await code(port, {})).toBe(3)
  core.onAdmit = async () => {
    throw new Error('broken')
  }
  const client = await dial({ port })
  client.send(connectPacket())
  await client.closed
  expect(log.of('error')).toHaveLength(1)
})

test('who is decided about slowly keeps nobody else waiting, however many there are', async () => {
  const { port, core } = await start()
  core.onAdmit = async ({ username }) =>
    username === 'slow' ? await new Promise<Authentication>(() => {}) : undefined
  for (let i = 0; i < 100; i++) (await dial({ port })).send(connectPacket({ username: 'slow' }))
  while (core.admitted.length < 100) await turn()
  expect(await code(port, { username: 'viewer' })).toBe(0)
})

/** Returns the most of something that came in one turn of the event loop, until all of it was there. */
async function mostInATurn(came: () => number, all: number): Promise<number> {
  let most = 0
  for (let before = came(); before < all; ) {
    await turn()
    most = Math.max(most, came() - before)
    before = came()
  }
  return most
}

describe('sessions that were decided about at one moment are let in in turns', () => {
  test.each([
    ['principals', (i: number) => ({ username: 'viewer', clientId: `v${i}`, clean: i % 2 === 0 })],
    ['limbs', (i: number) => ({ username: `cam${i}`, password: 'key' })],
    ['candidates', (i: number) => ({ username: `other${i}` })],
  ] as const)('%s', async (_, connect) => {
    const SESSIONS = 200
    // No time passes: on a busy machine those that open would be taken for some that wait for the store.
    const { port, core } = await start({ clock: new FakeClock() })
    const decide = Promise.withResolvers<undefined>()
    core.onAdmit = () => decide.promise
    for (let i = 0; i < SESSIONS; i++) (await dial({ port })).send(connectPacket(connect(i)))
    while (core.admitted.length < SESSIONS) await turn()
    decide.resolve(undefined)
    const most = await mostInATurn(() => core.all('opened').length, SESSIONS)
    expect(most).toBeLessThanOrEqual(24)
  })
})

test('what clients sent right behind CONNECT is worked on in turns', async () => {
  const [SESSIONS, MESSAGES] = [100, 20]
  const { port, core } = await start({ clock: countedClock() })
  const decide = Promise.withResolvers<undefined>()
  core.onAdmit = () => decide.promise
  const packets = (name: string) => [
    connectPacket({ username: name, password: 'key' }),
    ...Array.from({ length: MESSAGES }, (_, i) =>
      publishPacket(`limb/node/${name}/register`, 'x'.repeat(200), { qos: 1, id: i + 1 }),
    ),
  ]
  for (let i = 0; i < SESSIONS; i++) (await dial({ port })).send(Buffer.concat(packets(`cam${i}`)))
  while (core.admitted.length < SESSIONS) await turn()
  decide.resolve(undefined)
  const most = await mostInATurn(() => core.all('message').length, SESSIONS * MESSAGES)
  // Each look at the clock takes a millisecond: a turn ends after a few sessions.
  expect(most).toBeLessThan(16 * MESSAGES)
})

test('of who has gone the core is told, and it takes over no session', async () => {
  const { port, core, connect } = await start()
  const holder = await connect({ clientId: 'same', ...LIMB })
  const decide = Promise.withResolvers<undefined>()
  core.onAdmit = () => decide.promise
  const gone = await dial({ port })
  gone.send(connectPacket({ clientId: 'same', ...LIMB }))
  while (core.admitted.length < 2) await turn()
  const isGone = core.admitted[1]?.isGone
  expect(isGone?.()).toBe(false)
  gone.socket.end()
  while (isGone?.() === false) await turn()
  decide.resolve(undefined)
  await turn()
  await holder.settle()
})

/** A connection with the client id `same` that is not clean, and whether a session was there. */
async function returning(port: number, username: string) {
  const client = await dial({ port })
  client.send(connectPacket({ clientId: 'same', username, clean: false }))
  const { present } = await client.connack()
  return { client, present }
}

describe('a client id in use', () => {
  test('is taken over by the same identity; the old session is replaced', async () => {
    const { connect, core } = await start()
    const old = await connect({ clientId: 'x', ...LIMB })
    const young = await connect({ clientId: 'x', ...LIMB })
    await old.closed
    await core.until('opened', () => core.all('opened').length === 2)
    expect(core.all('closed').map((event) => event.why)).toEqual(['replaced'])
    // The end of the old one was told before the new one opened, and touches only the old one.
    expect(core.events.map((event) => event.kind)).toEqual(['opened', 'closed', 'opened'])
    const [first, second] = core.all('opened')
    expect(core.all('closed')[0]?.session).toBe(first?.session)
    expect(second?.session.alive).toBe(true)
    young.send(publishPacket('limb/node/cam1/heartbeat', '', { qos: 1, id: 1 }))
    await young.ack(PUBACK, 1)
    expect(core.all('heartbeat')[0]?.session).toBe(second?.session)
  })

  test('belongs to nobody: another identity has a session of its own under it, and both go on', async () => {
    const { connect, broker } = await start()
    const limb = await connect({ clientId: 'x', ...LIMB })
    const other = await connect({ clientId: 'x', username: 'cam2', password: 'key' })
    const viewer = await connect({ clientId: 'x', username: 'viewer' })
    // The same name without the key is a stranger.
    const stranger = await connect({ clientId: 'x', username: 'cam1' })
    for (const client of [limb, other, viewer, stranger]) await client.settle()
    expect(broker.counters.sessions).toEqual({ limb: 2, principal: 1, candidate: 1 })
  })

  test('of too many live sessions of one limb the oldest is closed, and its other sessions and others go on', async () => {
    const { connect, broker } = await start({ limits: { maxSessionsPerLimb: 2 } })
    const other = await connect({ username: 'cam2', password: 'key' })
    const [first, second, third] = [await connect(LIMB), await connect(LIMB), await connect(LIMB)]
    await first?.closed
    for (const client of [second, third, other]) await client?.settle()
    expect(broker.counters.limits.sessions).toBe(1)
  })

  test('of too many live sessions of one principal the oldest is closed, and those of others go on', async () => {
    const { connect, broker } = await start({ limits: { maxSessionsPerPrincipal: 2 } })
    const other = await connect({ username: 'viewer1' })
    const mine = []
    for (let i = 0; i < 3; i++) mine.push(await connect({ clientId: `w${i}`, username: 'viewer2' }))
    await mine[0]?.closed
    for (const client of [mine[1], mine[2], other]) await client?.settle()
    expect(broker.counters.limits.sessions).toBe(1)
  })

  test('is not blocked by a candidate: neither a rival nor the paired limb', async () => {
    const { connect } = await start()
    const squatter = await connect({ clientId: 'cam1' })
    const rival = await connect({ clientId: 'cam1', username: 'cam1', password: 'its own key' })
    const limb = await connect({ clientId: 'cam1', ...LIMB })
    for (const client of [squatter, rival, limb]) await client.settle()
  })

  test('of a stored session is free for another identity, whose session is another one, also after a restart', async () => {
    const file = join(tempFolder(), 'limb.sqlite')
    const first = await start({ file, grants: [{ to: 'viewer', publish: ['out/#'], subscribe: ['out/#'] }] })
    const owner = await first.connect({ clientId: 'same', username: 'viewer1', clean: false })
    await owner.subscribe({ 'out/1': 1 })
    owner.send(DISCONNECT)
    await owner.closed
    const { client: other, present } = await returning(first.port, 'viewer2')
    expect(present).toBe(false)
    await other.subscribe({ 'out/2': 1 })
    other.send(DISCONNECT)
    await other.closed
    // A clean session of a third deletes nothing of theirs.
    await first.connect({ clientId: 'same', username: 'viewer3' })
    await first.stop()
    const second = await start({ file, grants: [{ to: 'viewer', publish: ['out/#'], subscribe: ['out/#'] }] })
    for (const topic of ['out/1', 'out/2']) {
      second.broker.publisher.publish(topic, Buffer.from('hello'), { qos: 1, retain: false })
    }
    for (const [name, topic] of [
      ['viewer1', 'out/1'],
      ['viewer2', 'out/2'],
    ]) {
      const { client, present } = await returning(second.port, name as string)
      expect(present).toBe(true)
      expect((await client.message()).topic).toBe(topic)
      client.socket.destroy()
    }
  })

  test('of stored sessions an identity keeps a few: the oldest that is away goes', async () => {
    const { connect, broker, persistence } = await start()
    const live = await connect({ clientId: 'live', username: 'viewer1', clean: false })
    for (let i = 0; i < 15; i++) {
      const client = await connect({ clientId: `away${i}`, username: 'viewer1', clean: false })
      client.send(DISCONNECT)
      await client.closed
    }
    const other = await connect({ clientId: 'away0', username: 'viewer2', clean: false })
    const kept = persistence.sessions.list('viewer1').map(({ key }) => key)
    expect(kept).toEqual(
      ['live', ...Array.from({ length: 11 }, (_, i) => `away${i + 4}`)].map((id) => `viewer1 ${id}`),
    )
    expect(broker.sessions.list({ name: 'viewer2', after: undefined, limit: 9 })).toMatchObject([
      { name: 'viewer2', clientId: 'away0', live: true },
    ])
    for (const client of [live, other]) await client.settle()
  })

  test('is forgotten when an operator says so: the live session ends, and nothing is kept', async () => {
    const { connect, broker, persistence } = await start()
    const client = await connect({ clientId: 'x', username: 'viewer1', clean: false })
    const same = await connect({ clientId: 'x', username: 'viewer2', clean: false })
    expect(await broker.sessions.forgetOne('viewer1', 'x')).toBe(true)
    await client.closed
    expect(persistence.sessions.list('viewer1')).toEqual([])
    expect(await broker.sessions.forgetOne('viewer1', 'x')).toBe(false)
    await same.settle()
  })
})

test('simultaneous CONNECTs of one id leave one live session and no ghost', async () => {
  const { connect, port, core } = await start()
  const first = await connect({ clientId: 'x', username: 'viewer', clean: false })
  await first.subscribe({ 'limb/bridge/#': 1 })
  const many = await Promise.all(
    Array.from({ length: 5 }, async () => {
      const client = await dial({ port })
      client.send(connectPacket({ clientId: 'x', username: 'viewer', clean: false }))
      return client
    }),
  )
  await core.until('opened', () => core.all('opened').length === 6)
  expect(core.all('closed')).toHaveLength(5)
  const alive = core.all('opened').filter((event) => event.session.alive)
  expect(alive).toHaveLength(1)
  const open = () => [first, ...many].filter((client) => !client.isClosed)
  while (open().length > 1) await turn()
  alive[0]?.session.end('refused', false)
  await Promise.all(many.map((client) => client.closed))
})

test('sessions that leave their id to the bridge do not wait for each other, however many come at once', async () => {
  const { port, core } = await start()
  const clients = await Promise.all(Array.from({ length: 40 }, () => dial({ port })))
  for (const client of clients)
    client.send(connectPacket({ clientId: '', username: 'viewer1', password: 'x' }))
  const codes = await Promise.all(clients.map(async (client) => (await client.connack()).code))
  expect(codes).toEqual(clients.map(() => 0))
  expect(core.all('closed')).toEqual([])
})

test('a connection that is cut while it is judged never opens', async () => {
  const { port, core, broker, connect } = await start()
  let decide = () => {}
  core.onAdmit = () =>
    new Promise((resolve) => {
      decide = () => resolve(undefined as never)
    })
  const client = await dial({ port })
  client.send(connectPacket({ clientId: 'x', username: 'viewer' }))
  while (core.admitted.length === 0) await turn()
  client.cut()
  while (broker.counters.connections.tcp > 0) await turn()
  decide()
  await turn()
  core.onAdmit = async () => undefined
  const next = await connect({ clientId: 'x', username: 'viewer' })
  await next.settle()
  expect(core.all('opened')).toHaveLength(1)
  expect(core.all('closed')).toEqual([])
})

describe('last words', () => {
  const grants = [{ to: 'viewer', publish: ['out/#'], subscribe: ['out/#'] }]

  /** What a watcher got, once it was `wills` messages. */
  async function lastWords(options: Connect, { polite = false, wills = 0 } = {}) {
    const { connect, log } = await start({ grants: [...grants, { to: 'limb', publish: ['out/#'] }] })
    const watcher = await connect({ username: 'viewer9' })
    await watcher.subscribe({ 'out/#': 1 })
    const client = await connect(options)
    if (polite) client.send(DISCONNECT)
    else client.cut()
    await client.closed
    while (watcher.messages.length < wills) await turn()
    await watcher.settle()
    return { messages: watcher.messages, log }
  }
  const will = { topic: 'out/gone', payload: 'bye', qos: 1 }

  test('of a principal are published when its connection is lost', async () => {
    const { messages } = await lastWords({ username: 'viewer1', will }, { wills: 1 })
    expect(messages).toMatchObject([{ topic: 'out/gone', text: 'bye', qos: 1 }])
  })

  test('of a limb are published below a granted topic, and retained when it says so', async () => {
    const { messages } = await lastWords({ ...LIMB, will: { ...will, retain: true } }, { wills: 1 })
    expect(messages).toMatchObject([{ topic: 'out/gone', text: 'bye', qos: 1 }])
  })

  test('of a limb whose newer connection has come are not published: it is not gone', async () => {
    const { connect, core } = await start({ grants: [...grants, { to: 'limb', publish: ['out/#'] }] })
    const watcher = await connect({ username: 'viewer9' })
    await watcher.subscribe({ 'out/#': 1 })
    for (const why of ['replaced', 'refused', 'stopped'] as const) {
      const limb = await connect({ ...LIMB, clientId: why, will })
      const { session } = await core.until('opened', (event) => event.session.clientId === why)
      session.end(why, false)
      await limb.closed
    }
    await turn()
    await watcher.settle()
    expect(watcher.messages).toEqual([])
  })

  test('are not published after DISCONNECT', async () => {
    expect((await lastWords({ username: 'viewer1', will }, { polite: true })).messages).toEqual([])
  })

  test.each([
    ['a limb without the right', { ...LIMB, will: { ...will, topic: 'limb/node/cam1/data/x' } }],
    ['a limb to the status of another', { ...LIMB, will: { ...will, topic: 'limb/node/cam2/status' } }],
    ['a candidate', { username: 'cam3', will }],
    ['a principal without the right', { username: 'viewer1', will: { ...will, topic: 'other' } }],
    ['a principal to a wildcard', { username: 'viewer1', will: { ...will, topic: 'out/#' } }],
    [
      'a principal to a verb',
      { username: 'viewer1', will: { ...will, topic: 'limb/principal/viewer1/request/x' } },
    ],
    [
      'a principal with many levels',
      { username: 'viewer1', will: { ...will, topic: `out${'/a'.repeat(40)}` } },
    ],
  ])('of %s are stripped', async (_, options) => {
    const { messages } = await lastWords(options)
    expect(messages).toEqual([])
  })

  test('of a principal without the right are logged with who it is', async () => {
    const { log } = await lastWords({
      clientId: 'dash',
      username: 'viewer1',
      will: { ...will, topic: 'other' },
    })
    const denied = log.lines.filter(({ message }) => message.startsWith('will to other denied: '))
    expect(denied.map(({ fields }) => fields)).toMatchObject([
      { who: 'principal', clientId: 'dash', what: 'will', topic: 'other' },
    ])
  })
})
