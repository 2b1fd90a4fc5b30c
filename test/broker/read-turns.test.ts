import { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { readDirectly } from '../../src/broker/direct-read.ts'
import { PacedReading, ReadTurns } from '../../src/broker/read-turns.ts'
import { readsWhole } from '../../src/broker/whole-read.ts'
import type { Clock } from '../../src/kernel/clock.ts'
import { countedClock } from '../support/counted-clock.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { start, turn } from './fixture.ts'
import { PUBACK, publishPacket } from './wire.ts'

/** Connections that are read as Aedes reads them; each chunk takes `costMs`. */
function world(costMs: number) {
  const clock = new FakeClock()
  let looks = 0
  const counted: Clock = {
    wallMs: () => clock.wallMs(),
    after: (ms, task) => clock.after(ms, task),
    monotonicMs: () => {
      looks++
      return clock.monotonicMs()
    },
  }
  const turns = new ReadTurns(counted)
  const taken: string[] = []
  const connection = (name: string) => {
    const conn = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
    const feed = (chunk: Buffer) => {
      clock.standStill(costMs)
      taken.push(`${name} ${chunk.length}`)
    }
    readsWhole(conn)
    const pace = new PacedReading({
      conn,
      turns,
      resume: () => undefined,
      isIdle: () => !conn.destroyed,
      isCandidate: () => name.startsWith('candidate'),
    })
    conn.on('readable', () => {
      const chunk: Buffer | null = conn.read()
      if (chunk !== null) feed(chunk)
    })
    readDirectly({
      conn,
      client: { _parsingBatch: 0 },
      session: { isGone: false },
      guard: { feed },
      holds: [{ isWaiting: false }, undefined, pace],
    })
    return conn
  }
  return { taken, connection, turns, looks: () => looks }
}

const LARGE = Buffer.alloc(65_536)

test('large chunks of all connections have eight milliseconds of a turn, and wait in their order beyond', async () => {
  const { taken, connection } = world(4)
  const names = Array.from({ length: 9 }, (_, i) => `c${i}`)
  const connections = names.map(connection)
  for (const conn of connections) conn.push(LARGE)
  expect(taken).toHaveLength(2)
  const inEachTurn = []
  while (taken.length < names.length) {
    const before = taken.length
    await turn()
    inEachTurn.push(taken.length - before)
  }
  expect(taken).toEqual(names.map((name) => `${name} ${LARGE.length}`))
  expect(Math.max(...inEachTurn)).toBe(2)
})

test('a crowd of candidates keeps a limb waiting no longer than one of them does', async () => {
  const { taken, connection } = world(8)
  const candidates = Array.from({ length: 40 }, (_, i) => connection(`candidate${i}`))
  const limbs = ['limb1', 'limb2'].map(connection)
  for (const conn of candidates) conn.push(LARGE)
  const [before, [gone]] = [taken.length, candidates.splice(5, 1)]
  for (const conn of limbs) conn.push(LARGE)
  gone?.destroy()
  while (taken.length < candidates.length + limbs.length) await turn()
  const names = taken.map((text) => text.split(' ')[0])
  // Those that wait stand in the line as one, which came before the limbs.
  expect(names.indexOf('limb1')).toBeLessThanOrEqual(before + 1)
  expect(names.indexOf('limb2')).toBeLessThanOrEqual(before + 2)
  expect(names.filter((name) => name?.startsWith('candidate'))).toEqual(
    Array.from({ length: 40 }, (_, i) => `candidate${i}`).filter((name) => name !== 'candidate5'),
  )
})

test('who sends on while it waits is told to stop, and what it sent comes in its order', async () => {
  const { taken, connection } = world(8)
  const [first, second] = [connection('first'), connection('second')]
  expect(first.push(LARGE)).toBe(true)
  expect(second.push(LARGE)).toBe(false)
  second.push(Buffer.from('more'))
  while (taken.length < 2) await turn()
  expect(taken).toEqual([`first ${LARGE.length}`, `second ${LARGE.length + 4}`])
})

test('small chunks are taken at once, and nobody looks at the clock for them while they are few', async () => {
  const { taken, connection, looks } = world(0)
  const conn = connection('c')
  for (let i = 0; i < 15; i++) conn.push(Buffer.alloc(100))
  expect(taken).toHaveLength(15)
  expect(looks()).toBe(0)
  conn.push(LARGE)
  expect(looks()).toBeGreaterThan(0)
  await turn()
})

test('a connection that is gone when its turn comes is left alone, and those behind it go on', async () => {
  const { taken, connection } = world(8)
  const [first, second, third] = [connection('first'), connection('second'), connection('third')]
  for (const conn of [first, second, third]) conn.push(LARGE)
  await turn()
  second.destroy()
  while (taken.length < 2) await turn()
  expect(taken).toEqual([`first ${LARGE.length}`, `third ${LARGE.length}`])
})

test('what still comes of a session that ended while it waited is dropped to its end, in no turn', async () => {
  const { taken, connection } = world(8)
  const [first, second] = [connection('first'), connection('second')]
  let isOver = false
  const ended = new Promise<void>((resolve) => second.once('end', resolve))
  first.push(LARGE)
  second.push(LARGE)
  await new Promise((resolve) => process.nextTick(resolve))
  // As a connection lingers that nobody reads as a session any more.
  second.removeAllListeners('readable')
  second.on('data', () => {
    isOver = true
  })
  second.resume()
  second.push(null)
  await ended
  expect(isOver).toBe(true)
  expect(taken).toEqual([`first ${LARGE.length}`])
})

test('nobody is read while a part is behind with what was read, and those who waited go on in their order', async () => {
  const { taken, connection, turns } = world(0)
  const part = {}
  const [first, second] = [connection('first'), connection('second')]
  turns.setBehind(part, true)
  for (const conn of [first, second]) conn.push(Buffer.from('x'))
  let isGone = false
  turns.wait(() => {
    isGone = true
  })()
  for (let i = 0; i < 5; i++) await turn()
  expect(taken).toEqual([])
  turns.setBehind(part, false)
  while (taken.length < 2) await turn()
  expect(taken).toEqual(['first 1', 'second 1'])
  expect(isGone).toBe(false)
})

test('messages for very many sessions have eight milliseconds of a turn, and each session gets all of them in order', async () => {
  const SESSIONS = 60
  const MESSAGES = 200
  const limits = { maxMessagesPerSecond: 100_000, maxInflightPerSession: 1000 }
  const grants = [{ to: 'viewer', publish: ['t/#'], subscribe: ['t/#'] }]
  const { connect, broker } = await start({ clock: countedClock(), limits, grants })
  const readers = await Promise.all(
    Array.from({ length: SESSIONS }, (_, i) => connect({ username: 'viewer', clientId: `r${i}` })),
  )
  await Promise.all(readers.map((reader) => reader.subscribe({ 't/#': 1 })))
  const writer = await connect({ username: 'viewer1' })
  const sent = Array.from({ length: MESSAGES }, (_, i) => `${i}`)
  // RETAIN: those wait for the store, which is done with many at one moment.
  writer.send(
    ...sent.map((payload, i) =>
      publishPacket(`t/${i % 3}`, payload, { qos: 1, id: i + 1, retain: i % 2 === 0 }),
    ),
  )
  let [most, seen] = [0, broker.counters.messagesOut]
  while (readers.some(({ messages }) => messages.length < MESSAGES)) {
    await turn()
    most = Math.max(most, broker.counters.messagesOut - seen)
    seen = broker.counters.messagesOut
  }
  for (const { messages } of readers) expect(messages.map(({ text }) => text)).toEqual(sent)
  // Some eight messages between looks that cost a millisecond each, of what is read and of what was stored.
  expect(most).toBeLessThanOrEqual(24 * SESSIONS)
})

test('small messages that come in one chunk have eight milliseconds of a turn too, and none is lost or overtaken', async () => {
  const MESSAGES = 600
  const limits = { maxMessagesPerSecond: 10_000 }
  const { connect, broker, core } = await start({ clock: countedClock(), limits })
  const limb = await connect({ username: 'cam1', password: 'key' })
  const sent = Array.from({ length: MESSAGES }, (_, i) => `{"n":${i}}`)
  const before = broker.counters.messagesIn
  limb.send(
    ...sent.map((payload, i) => publishPacket('limb/node/cam1/result', payload, { qos: 1, id: i + 1 })),
  )
  let [most, seen] = [0, before]
  while (seen < before + MESSAGES) {
    await turn()
    most = Math.max(most, broker.counters.messagesIn - seen)
    seen = broker.counters.messagesIn
  }
  expect(most).toBeGreaterThan(0)
  // Thirty-two between two looks at the clock.
  expect(most).toBeLessThanOrEqual(9 * 32)
  await limb.ack(PUBACK, MESSAGES)
  expect(core.all('message').map(({ payload }) => payload)).toEqual(sent)
})
