import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Persistence } from '../../src/broker/aedes-internals.ts'
import type { BrokerOptions } from '../../src/broker/broker.ts'
import { patience } from '../support/patience.ts'
import { start, tempFolder, turn } from './fixture.ts'
import { connectPacket, DISCONNECT, dial, PUBACK, PUBLISH, publishPacket, type WireClient } from './wire.ts'

const LIMB = { username: 'cam1', password: 'key' }
const DATA = 'limb/node/cam1/data/x'

/** Publishes until the reader's share of the kernel's buffers is full and more waits in the broker. */
async function fill(writer: WireClient, bytes: number, qos: 0 | 1): Promise<void> {
  const payload = Buffer.alloc(100_000, 0x61)
  for (let i = 1; i * payload.length < bytes; i++) {
    writer.send(publishPacket(DATA, payload, { qos, id: i }))
    await writer.settle()
  }
}

describe('a reader that does not read', () => {
  test('loses QoS 0, keeps its session, delays nobody, and holds no more than its bound', async () => {
    const { connect, broker, log } = await start({ limits: { drainTimeoutMs: patience(30_000) } })
    const began = performance.now()
    const stuck = await connect({ username: 'viewer1' })
    await stuck.subscribe({ 'limb/node/+/data/#': 0 })
    stuck.socket.pause()
    const reader = await connect({ username: 'viewer2' })
    await reader.subscribe({ 'limb/node/cam2/data/#': 1 })
    const writer = await connect(LIMB)
    const other = await connect({ username: 'cam2', password: 'key' })
    await fill(writer, 20_000_000, 0)
    expect(broker.counters.shed).toBeGreaterThan(0)
    const told = log.of('info').filter(({ message }) => message.startsWith('a session reads too slowly'))
    // One line in ten seconds, however slow the machine is.
    expect(told.length).toBeGreaterThan(0)
    expect(told.length).toBeLessThanOrEqual(1 + (performance.now() - began) / 10_000)
    for (let i = 1; i <= 20; i++) {
      other.send(publishPacket('limb/node/cam2/data/t', `${i}`, { qos: 1, id: i }))
      expect((await reader.message()).text).toBe(`${i}`)
    }
    expect(broker.counters.connections.tcp).toBe(4)
    stuck.socket.resume()
    await stuck.settle()
  })

  test('may have one large answer before it, whose acknowledgement waits behind it, but not any number of them', async () => {
    const { connect, broker, core, log } = await start({ limits: { maxMessagesPerSecond: 100_000 } })
    const asker = await connect({ username: 'viewer1' })
    await asker.subscribe({ 'limb/principal/viewer1/response/#': 1 })
    const answer = Buffer.alloc(12_000_000, 0x61)
    core.onMessage = async () => {
      core.onMessage = async () => {}
      const topic = 'limb/principal/viewer1/response/node/list'
      broker.publisher.publish(topic, answer, { qos: 1, retain: false })
    }
    const ask = (id: number) =>
      asker.send(publishPacket('limb/principal/viewer1/request/node/list', '{}', { qos: 1, id }))
    asker.socket.pause()
    ask(1)
    await core.until('message')
    ask(2)
    while (core.all('message').length < 2) await turn()
    for (let i = 0; i < 20; i++) await turn()
    expect(broker.counters.overrun).toBe(0)
    asker.socket.resume()
    expect((await asker.message()).text).toHaveLength(answer.length)
    await asker.ack(PUBACK, 2)
    core.onMessage = async () => {
      core.onMessage = async () => {}
      broker.publisher.publish('limb/principal/viewer1/response/x', answer, { qos: 1, retain: false })
    }
    asker.socket.pause()
    for (let id = 3; id < 1100; id++) ask(id)
    await core.until('closed')
    expect(broker.counters.sessions.principal).toBe(0)
    expect(log.of('warn').map(({ message }) => message)).toContain(
      'a session does not read what it is sent; it is closed',
    )
  })

  test('at QoS 1 is ended beyond its bound, with a line in the log', async () => {
    const { connect, broker, log, core } = await start({
      limits: { maxSessionQueueBytes: 2_000_000, drainTimeoutMs: patience(30_000) },
    })
    const stuck = await connect({ username: 'viewer1' })
    await stuck.subscribe({ 'limb/node/+/data/#': 1 })
    stuck.socket.pause()
    const writer = await connect(LIMB)
    await fill(writer, 20_000_000, 1)
    const { session } = await core.until('closed')
    expect(session.identity).toMatchObject({ name: 'viewer1' })
    expect(broker.counters.overrun).toBe(1)
    expect(log.of('warn').map((line) => line.message)).toEqual([
      'a session does not read what it is sent; it is closed',
    ])
    await writer.settle()
  })

  test('that is reset under a flood of small messages ends neither the process nor other sessions', async () => {
    const { connect, core } = await start({ limits: { drainTimeoutMs: 300 } })
    const stuck = await connect({ username: 'viewer1' })
    await stuck.subscribe({ 'limb/node/+/data/#': 1 })
    stuck.socket.pause()
    const writer = await connect(LIMB)
    await fill(writer, 8_000_000, 1)
    for (let i = 0; i < 15_000; i += 500) {
      writer.send(
        ...Array.from({ length: 500 }, (_, n) =>
          publishPacket(DATA, 'small', { qos: 1, id: ((i + n) % 65_535) + 1 }),
        ),
      )
    }
    stuck.cut()
    await core.until('closed')
    await writer.ack(PUBACK, 15_000)
    const reader = await connect({ username: 'viewer2' })
    await reader.subscribe({ 'limb/node/cam2/data/#': 1 })
    const other = await connect({ username: 'cam2', password: 'key' })
    other.send(publishPacket('limb/node/cam2/data/t', 'prompt'))
    expect((await reader.message()).text).toBe('prompt')
  })
})

test('messages of QoS 1 wait for acknowledgements beyond the window, and none is lost', async () => {
  const { connect, broker } = await start({ limits: { maxInflightPerSession: 10 } })
  const reader = await connect({ username: 'viewer' })
  await reader.subscribe({ 'limb/bridge/#': 1 })
  for (let i = 0; i < 100; i++) {
    broker.publisher.publish('limb/bridge/event/x', Buffer.from(`${i}`), { qos: 1, retain: false })
  }
  await reader.settle()
  expect(reader.messages).toHaveLength(10)
  const got: string[] = []
  while (got.length < 100) {
    const message = await reader.message()
    got.push(message.text)
    reader.send(Buffer.from([0x40, 2, message.id >> 8, message.id & 255]))
  }
  expect(got).toEqual(Array.from({ length: 100 }, (_, i) => `${i}`))
})

test('ten thousand retained messages go out as fast as the reader acknowledges, and all arrive', async () => {
  const { connect, owned } = await start()
  for (let i = 0; i < 10_000; i++) owned.set(`limb/node/n${i}/status`, 'offline')
  const reader = await connect({ username: 'viewer' })
  await reader.subscribe({ 'limb/node/+/status': 1 })
  for (let i = 0; i < 10_000; i++) {
    const packet = await reader.next((each) => each.type === PUBLISH)
    const at = 2 + packet.body.readUInt16BE(0)
    reader.send(Buffer.from([0x40, 2]), packet.body.subarray(at, at + 2))
  }
  await reader.settle()
  expect(reader.messages).toEqual([])
})

/** Lets the test fail the store's writes, or hold them for ever. */
function broken(how: { fail?: boolean; hang?: boolean; until?: Promise<void> }) {
  const names: (keyof Persistence)[] = [
    'storeRetained',
    'addSubscriptions',
    'removeSubscriptions',
    'outgoingEnqueueCombi',
    'outgoingClearMessageId',
    'cleanSubscriptions',
    'cleanIncoming',
  ]
  return (persistence: BrokerOptions['persistence']): BrokerOptions['persistence'] =>
    new Proxy(persistence, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target)
        if (typeof value !== 'function') return value
        if (!names.includes(name as keyof Persistence)) return value.bind(target)
        return async (...args: unknown[]) => {
          if (how.fail) throw new Error('disk full')
          if (how.hang) await new Promise(() => {})
          await how.until
          return value.apply(target, args)
        }
      },
    })
}

const MAX_ROUTE_BYTES = 200_000
/** More messages than fit, and the bytes of each. */
const COUNT = 50
const BYTES = 20_000

/** A broker whose store takes nothing from `stall` until `slow` is resolved, a session that is away, a reader, and a limb. */
async function startSlow() {
  const slow = Promise.withResolvers<void>()
  const how: { until?: Promise<void> } = {}
  const running = await start({
    wrapPersistence: broken(how),
    limits: { storeTimeoutMs: 60_000, maxRouteBytes: MAX_ROUTE_BYTES },
  })
  const { connect } = running
  const away = await connect({ username: 'viewer1', clientId: 'away', clean: false })
  await away.subscribe({ 'limb/node/+/data/#': 1 })
  away.send(DISCONNECT)
  await away.closed
  const reader = await connect({ username: 'viewer2' })
  await reader.subscribe({ 'limb/node/+/data/#': 1 })
  const limb = await connect(LIMB)
  const stall = () => {
    how.until = slow.promise
  }
  return { ...running, reader, limb, slow, stall }
}

/** Has what is retained read in another way. */
function withRetained(
  retained: (persistence: BrokerOptions['persistence']) => BrokerOptions['persistence']['retained'],
) {
  return (persistence: BrokerOptions['persistence']) =>
    new Proxy(persistence, {
      get(target, key) {
        if (key === 'retained') return retained(target)
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
}

describe('a store that fails', () => {
  test('stops neither delivery, nor new sessions, nor their end', async () => {
    const how = { fail: false }
    const { connect, broker, core, log } = await start({ wrapPersistence: broken(how) })
    const away = await connect({ username: 'viewer1', clientId: 'away', clean: false })
    await away.subscribe({ 'limb/node/+/data/#': 1 })
    away.send(DISCONNECT)
    await away.closed
    how.fail = true
    const reader = await connect({ username: 'viewer2', clientId: 'live', clean: false })
    expect(await reader.subscribe({ 'limb/node/+/data/#': 1 })).toEqual([1])
    const limb = await connect(LIMB)
    for (let i = 1; i <= 20; i++) {
      limb.send(publishPacket(DATA, `${i}`, { qos: (i % 2) as 0 | 1, id: i, retain: i % 3 === 0 }))
      const message = await reader.message()
      expect(message.text).toBe(`${i}`)
      if (message.qos > 0) reader.send(Buffer.from([0x40, 2, message.id >> 8, message.id & 255]))
    }
    await reader.settle()
    limb.send(DISCONNECT)
    await limb.closed
    await core.until('closed', (event) => event.session.identity.kind === 'limb')
    expect(broker.counters.unstored).toBeGreaterThan(0)
    // One line for all of it.
    expect(log.of('warn').filter((line) => /store failed/.test(line.message))).toHaveLength(1)
    expect(log.of('error')).toEqual([])
  })

  test('a store that never answers holds messages for its time only, and keeps their order', async () => {
    const how = { hang: false }
    const { connect, broker, log } = await start({
      wrapPersistence: broken(how),
      limits: { storeTimeoutMs: 100 },
    })
    const away = await connect({ username: 'viewer1', clientId: 'away', clean: false })
    await away.subscribe({ 'limb/bridge/#': 1 })
    away.send(DISCONNECT)
    await away.closed
    const reader = await connect({ username: 'viewer2' })
    await reader.subscribe({ 'limb/bridge/#': 1 })
    how.hang = true
    for (let i = 0; i < 30; i++) {
      broker.publisher.publish('limb/bridge/status', Buffer.from(`${i}`), {
        qos: i % 2 ? 1 : 0,
        retain: true,
      })
    }
    while (reader.messages.length < 30) await turn()
    expect(reader.messages.map((message) => message.text)).toEqual(
      Array.from({ length: 30 }, (_, i) => `${i}`),
    )
    expect(log.of('warn').some((line) => /too slow/.test(line.message))).toBe(true)
  })

  test('messages that wait for a slow store have a bound in bytes: who sends them is read later, and nobody else', async () => {
    const { connect, broker, core, log, reader, limb, slow, stall } = await startSlow()
    const other = await connect({ username: 'cam2', password: 'key' })
    stall()
    limb.send(
      ...Array.from({ length: COUNT }, (_, i) =>
        publishPacket(DATA, String(i).padEnd(BYTES), { qos: 1, id: i + 1 }),
      ),
    )
    while (broker.waitingBytes <= MAX_ROUTE_BYTES) await turn()
    // Others are read as before, one turn after the other.
    for (let i = 0; i < 20; i++) {
      other.send(publishPacket('limb/node/cam2/heartbeat', '{}'))
      await other.settle()
    }
    expect(core.heartbeats).toBe(20)
    expect(broker.waitingBytes).toBeLessThan(MAX_ROUTE_BYTES + 2 * BYTES)
    expect(log.of('warn').map(({ message }) => message)).toEqual([expect.stringContaining('is read later')])
    slow.resolve()
    while (reader.messages.length < COUNT) await turn()
    expect(reader.messages.map(({ text }) => Number(text))).toEqual(
      Array.from({ length: COUNT }, (_, i) => i),
    )
    await limb.ack(PUBACK, COUNT)
    while (broker.waitingBytes > 0) await turn()
  })

  test('a slow store that one sender has filled holds back nobody who has little in it', async () => {
    const { connect, broker, core, limb, slow, stall } = await startSlow()
    const other = await connect({ username: 'cam2', password: 'key' })
    stall()
    limb.send(
      ...Array.from({ length: 50 }, (_, i) =>
        publishPacket(DATA, Buffer.alloc(20_000), { qos: 1, id: i + 1 }),
      ),
    )
    while (broker.waitingBytes <= MAX_ROUTE_BYTES) await turn()
    for (let i = 1; i <= 20; i++) {
      other.send(publishPacket('limb/node/cam2/data/t', 'little', { qos: 1, id: i }))
      other.send(publishPacket('limb/node/cam2/heartbeat', '{}'))
      await other.settle()
    }
    expect(core.heartbeats).toBe(20)
    expect(broker.waitingBytes).toBeLessThan(1.5 * MAX_ROUTE_BYTES)
    slow.resolve()
    await limb.ack(PUBACK, 50)
    while (broker.waitingBytes > 0) await turn()
  })

  test('messages that need no store and wait behind some that do have the same bound', async () => {
    const { broker, reader, limb, slow, stall } = await startSlow()
    stall()
    limb.send(publishPacket(DATA, '0', { qos: 1 }))
    limb.send(
      ...Array.from({ length: COUNT - 1 }, (_, i) => publishPacket(DATA, String(i + 1).padEnd(BYTES))),
    )
    while (broker.waitingBytes <= MAX_ROUTE_BYTES && broker.waiting < COUNT) await turn()
    for (let i = 0; i < 20; i++) await reader.settle()
    expect(broker.waiting).toBeLessThan(MAX_ROUTE_BYTES / BYTES + 3)
    slow.resolve()
    while (reader.messages.length < COUNT) await turn()
    expect(reader.messages.map(({ text }) => Number(text))).toEqual(
      Array.from({ length: COUNT }, (_, i) => i),
    )
    while (broker.waitingBytes > 0) await turn()
  })

  test('a queue at its bound delivers without waiting, in order', async () => {
    const how = { hang: false }
    const { connect, broker } = await start({
      wrapPersistence: broken(how),
      limits: { storeTimeoutMs: 60_000, maxRouteQueue: 10 },
    })
    const away = await connect({ username: 'viewer1', clientId: 'away', clean: false })
    await away.subscribe({ 'limb/bridge/#': 1 })
    const reader = await connect({ username: 'viewer2' })
    await reader.subscribe({ 'limb/bridge/#': 1 })
    how.hang = true
    for (let i = 0; i < 11; i++) {
      broker.publisher.publish('limb/bridge/status', Buffer.from(`${i}`), { qos: 1, retain: false })
    }
    while (reader.messages.length < 11) await turn()
    expect(reader.messages.map((message) => message.text)).toEqual(
      Array.from({ length: 11 }, (_, i) => `${i}`),
    )
  })
})

test('what the control socket is answered waits behind nobody, unless it hears more than its answers', async () => {
  const how = { fail: false, hang: false }
  const { connect, broker, core } = await start({
    wrapPersistence: broken(how),
    limits: { storeTimeoutMs: 60_000 },
  })
  const away = await connect({ username: 'viewer1', clientId: 'away', clean: false })
  await away.subscribe({ 'limb/bridge/#': 1 })
  const path = join(tempFolder(), 'control.sock')
  await broker.listenUnix(path, 0o600)
  const local = await dial({ path })
  local.send(connectPacket({ clientId: 'local' }))
  await local.connack()
  await local.subscribe({ 'limb/principal/admin/response/#': 1 })
  const { session } = await core.until('opened', ({ session: each }) => each.clientId === 'local')
  how.hang = true
  broker.publisher.publish('limb/bridge/event/x', Buffer.from('waits'), { qos: 1, retain: false })
  const answer = 'limb/principal/admin/response/x'
  session.send(answer, Buffer.from('first'))
  expect((await local.message()).text).toBe('first')
  await local.subscribe({ 'limb/bridge/#': 1 })
  session.send(answer, Buffer.from('second'))
  await local.settle()
  expect(local.messages).toEqual([])
  how.hang = false
  // The store never answers: it is the end that lets go.
  void broker.stop()
  expect((await local.message()).text).toBe('waits')
  expect((await local.message()).text).toBe('second')
})

test('answers that another session asked for go to those that acknowledge, and the others miss some', async () => {
  const { connect, broker, core } = await start()
  const asks = await connect({ username: 'viewer', clientId: 'asks' })
  const lags = await connect({ username: 'viewer', clientId: 'lags' })
  const topic = 'limb/principal/viewer/response/x'
  for (const each of [asks, lags]) await each.subscribe({ [topic]: 1 })
  const { session: asker } = await core.until('opened', ({ session }) => session.clientId === 'asks')
  for (let i = 0; i < 60; i++)
    broker.publisher.publish(topic, Buffer.from(`${i}`), { qos: 1, retain: false, asker })
  await asks.settle()
  await lags.settle()
  expect(asks.messages).toHaveLength(60)
  expect(lags.messages).toHaveLength(32)
  for (const { id } of lags.messages) lags.send(Buffer.from([0x40, 2, id >> 8, id & 0xff]))
  await lags.settle()
  broker.publisher.publish(topic, Buffer.from('again'), { qos: 1, retain: false, asker })
  await lags.settle()
  expect(lags.messages.at(-1)?.text).toBe('again')
})

test('a store that fails to read what is retained ends no session, and is asked no further', async () => {
  let asked = 0
  const failing = withRetained(
    () =>
      async function* () {
        for (let i = 0; i < 3; i++) {
          asked++
          yield async () => {
            throw new Error('the server is gone')
          }
        }
      },
  )
  const { connect, log, broker } = await start({ wrapPersistence: failing })
  const reader = await connect({ username: 'viewer' })
  await reader.subscribe({ 'limb/bridge/#': 1 })
  await reader.settle()
  broker.publisher.publish('limb/bridge/event/x', Buffer.from('goes on'), { qos: 1, retain: false })
  expect((await reader.message()).text).toBe('goes on')
  expect(asked).toBe(1)
  expect(log.of('warn').map(({ message }) => message)).toEqual([
    'the store failed to read retained messages; live messages go on',
  ])
})

test('what is retained is read of the store for a few sessions at a time, however many ask', async () => {
  const SESSIONS = 40
  let [reading, most] = [0, 0]
  const counted = withRetained(
    (target) =>
      async function* (filters) {
        for await (const portion of target.retained(filters)) {
          yield typeof portion !== 'function'
            ? portion
            : async () => {
                most = Math.max(most, ++reading)
                await turn()
                reading--
                return await portion()
              }
        }
      },
  )
  const { connect } = await start({ wrapPersistence: counted })
  const limb = await connect(LIMB)
  for (const i of [1, 2])
    limb.send(publishPacket(`${DATA}${i}`, Buffer.alloc(50_000), { qos: 1, id: i, retain: true }))
  await limb.ack(PUBACK, 2)
  const readers = await Promise.all(
    Array.from({ length: SESSIONS }, (_, i) => connect({ username: 'viewer', clientId: `r${i}` })),
  )
  await Promise.all(readers.map((reader) => reader.subscribe({ 'limb/node/cam1/data/#': 1 })))
  while (readers.some(({ messages }) => messages.length < 2)) await turn()
  expect(most).toBeGreaterThan(0)
  expect(most).toBeLessThanOrEqual(4)
})
