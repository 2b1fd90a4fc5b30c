import { expect, test } from 'vitest'
import { LeftMessages } from '../../src/broker/left-messages.ts'
import { resend } from '../../src/broker/resend.ts'
import type { MqttSession } from '../../src/broker/session.ts'
import type { SessionContext } from '../../src/broker/session-context.ts'
import { TurnTime } from '../../src/kernel/turn-time.ts'
import { countedClock } from '../support/counted-clock.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { start, turn } from './fixture.ts'
import { DISCONNECT, PUBACK, publishPacket, SUBACK, subscribePacket, type WireClient } from './wire.ts'

const grants = [{ to: 'viewer', publish: ['t/#'], subscribe: ['t/#'] }]
const SESSIONS = 12
const MESSAGES = 150
/** Each message takes a millisecond at least: a turn of five has its immediates, and what came before them. */
const MOST_IN_A_TURN = 20

/** Returns the most messages that left in one turn of the event loop until all were there. */
async function mostInATurn(
  sent: () => number,
  readers: readonly WireClient[],
  toEach = MESSAGES,
): Promise<number> {
  let most = 0
  let before = sent()
  while (readers.some(({ messages }) => messages.length < toEach)) {
    await turn()
    most = Math.max(most, sent() - before)
    before = sent()
  }
  return most
}

test('what is retained leaves for all sessions together in five milliseconds of a turn', async () => {
  const { connect, broker } = await start({ grants, clock: countedClock() })
  const writer = await connect({ username: 'viewer1' })
  for (let i = 1; i <= MESSAGES; i++)
    writer.send(publishPacket(`t/${i}`, 'r', { qos: 1, id: i, retain: true }))
  await writer.ack(PUBACK, MESSAGES)
  const readers = await Promise.all(
    Array.from({ length: SESSIONS }, (_, i) => connect({ username: 'viewer', clientId: `r${i}` })),
  )
  const asked = Promise.all(readers.map((reader) => reader.subscribe({ 't/#': 0 })))
  const most = await mostInATurn(() => broker.counters.messagesOut, readers)
  await asked
  expect(most).toBeGreaterThan(0)
  expect(most).toBeLessThanOrEqual(MOST_IN_A_TURN)
})

test('what was queued for sessions that return leaves in the same time', async () => {
  const { connect, broker } = await start({ grants, clock: countedClock() })
  const session = (i: number) =>
    connect({ username: `viewer${i + 2}`, clientId: `r${i}`, clean: false, keepalive: 60 })
  const away = await Promise.all(Array.from({ length: SESSIONS }, (_, i) => session(i)))
  for (const each of away) {
    await each.subscribe({ 't/#': 1 })
    each.send(DISCONNECT)
    await each.closed
  }
  const writer = await connect({ username: 'viewer1' })
  for (let i = 1; i <= MESSAGES; i++) writer.send(publishPacket(`t/${i}`, 'q', { qos: 1, id: i }))
  await writer.ack(PUBACK, MESSAGES)
  const back = await Promise.all(Array.from({ length: SESSIONS }, (_, i) => session(i)))
  const most = await mostInATurn(() => broker.counters.messagesOut, back)
  expect(most).toBeLessThanOrEqual(MOST_IN_A_TURN)
})

test('that nothing is retained any more of a limb that is gone is told in the same time, and not where something is anew', async () => {
  const { connect, broker } = await start({ clock: countedClock() })
  const topicOf = (i: number) => `limb/node/cam1/data/${i}`
  const limb = await connect({ username: 'cam1', password: 'key' })
  for (let i = 1; i <= MESSAGES; i++)
    limb.send(publishPacket(topicOf(i), 'r', { qos: 1, id: i, retain: true }))
  await limb.ack(PUBACK, MESSAGES)
  const reader = await connect({ username: 'viewer' })
  await reader.subscribe({ 'limb/node/+/data/#': 0 })
  while (reader.messages.length < MESSAGES) await turn()
  const cleared = broker.publisher.clearRetainedOf('cam1')
  const told = mostInATurn(() => broker.counters.messagesOut, [reader], MESSAGES * 2)
  while (reader.messages.length === MESSAGES) await turn()
  // The topics are told in their order, and this one is the last.
  limb.send(publishPacket(topicOf(99), 'anew', { qos: 1, id: 1, retain: true }))
  const most = await told
  await cleared
  await reader.settle()
  expect(most).toBeLessThanOrEqual(MOST_IN_A_TURN)
  expect(reader.messages.filter(({ topic }) => topic === topicOf(99)).map(({ text }) => text)).toEqual([
    'r',
    'anew',
  ])
})

test('a session that subscribes hundreds of times has one place in the line, and others their turn', async () => {
  const SUBSCRIBES = 600
  const limits = { maxMessagesPerSecond: 10_000 }
  const { connect, broker } = await start({ grants, clock: countedClock(), limits })
  const writer = await connect({ username: 'viewer1' })
  for (const [i, topic] of ['t/g', 't/h/1', 't/h/2'].entries())
    writer.send(publishPacket(topic, 'r', { qos: 1, id: i + 1, retain: true }))
  await writer.ack(PUBACK, 3)
  const greedy = await connect({ username: 'viewer', clientId: 'greedy' })
  const honest = await connect({ username: 'viewer', clientId: 'honest' })
  greedy.send(...Array.from({ length: SUBSCRIBES }, (_, i) => subscribePacket({ 't/g': 0 }, i + 1)))
  await greedy.ack(SUBACK, SUBSCRIBES)
  const before = broker.counters.messagesOut
  expect(before).toBeLessThan(SUBSCRIBES / 2)
  await honest.subscribe({ 't/h/#': 0 })
  while (honest.messages.length < 2) await turn()
  expect(broker.counters.messagesOut - before).toBeLessThan(100)
  while (greedy.messages.length < SUBSCRIBES) await turn()
})

test('what sessions left behind unacknowledged leaves in the same time when they return', async () => {
  const LEFT = 60
  const { connect, broker } = await start({ grants, clock: countedClock() })
  const writer = await connect({ username: 'viewer1' })
  for (let i = 1; i <= LEFT; i++) writer.send(publishPacket(`t/${i}`, 'r', { qos: 1, id: i, retain: true }))
  await writer.ack(PUBACK, LEFT)
  const session = (i: number) =>
    connect({ username: `viewer${i + 2}`, clientId: `r${i}`, clean: false, keepalive: 60 })
  const first = await Promise.all(Array.from({ length: SESSIONS }, (_, i) => session(i)))
  for (const each of first) {
    await each.subscribe({ 't/#': 1 })
    // Retained messages, which no store keeps for it.
    while (each.messages.length < LEFT) await turn()
    each.send(DISCONNECT)
    await each.closed
  }
  const back = await Promise.all(Array.from({ length: SESSIONS }, (_, i) => session(i)))
  const most = await mostInATurn(() => broker.counters.messagesOut, back, LEFT)
  expect(back[0]?.messages[0]?.dup).toBe(true)
  expect(most).toBeLessThanOrEqual(MOST_IN_A_TURN)
})

test('sessions that return at one moment ask for time before their first message', async () => {
  const clock = new FakeClock()
  const sending = new TurnTime(clock, 5)
  let sent = 0
  const outbox = {
    resendRelease() {
      clock.standStill(4)
      sent++
    },
  }
  const session = { isGone: false, delivery: { outbox } } as unknown as MqttSession
  async function* queue() {
    yield { cmd: 'pubrel', messageId: 1 } as const
  }
  const context = { sending } as SessionContext
  const all = Promise.all(
    Array.from({ length: SESSIONS }, () =>
      resend(session, queue(), new LeftMessages([], async () => {}), context),
    ),
  )
  let most = 0
  for (let before = 0; sent < SESSIONS; before = sent) {
    await turn()
    most = Math.max(most, sent - before)
  }
  await all
  expect(most).toBe(2)
})

test('a session that subscribes again and again and acknowledges nothing keeps no more of it than it has subscriptions', async () => {
  const SUBSCRIBES = 2000
  const TOPIC = `t/${'g'.repeat(200)}`
  const limits = { maxMessagesPerSecond: 100_000, maxInflightPerSession: 10 }
  const { connect } = await start({ grants, limits })
  const writer = await connect({ username: 'viewer1' })
  writer.send(publishPacket(TOPIC, 'r', { qos: 1, id: 20, retain: true }))
  for (let i = 1; i < 20; i++) writer.send(publishPacket(`t/kept/${i}`, 'r', { qos: 1, id: i, retain: true }))
  await writer.ack(PUBACK, 19)
  const greedy = await connect({ username: 'viewer', clientId: 'greedy' })
  await greedy.subscribe({ 't/kept/+': 1 })
  greedy.send(...Array.from({ length: SUBSCRIBES }, (_, i) => subscribePacket({ [TOPIC]: 0 }, i + 1)))
  await greedy.ack(SUBACK, SUBSCRIBES)
  await greedy.subscribe({ 't/kept/1': 0 }, SUBSCRIBES + 1)
  await greedy.settle()
  expect(greedy.messages.some(({ topic }) => topic === TOPIC)).toBe(false)
  const acknowledged = new Set<number>()
  const isAtEnd = () => greedy.messages.filter(({ topic }) => topic === 't/kept/1').length === 2
  while (!isAtEnd()) {
    for (const { id, qos } of greedy.messages) {
      if (qos === 0 || acknowledged.has(id)) continue
      acknowledged.add(id)
      greedy.send(Buffer.from([0x40, 2, id >> 8, id & 255]))
    }
    await turn()
  }
  await greedy.settle()
  const copies = greedy.messages.filter(({ topic }) => topic === TOPIC).length
  expect(copies).toBeGreaterThan(0)
  expect(copies).toBeLessThan(SUBSCRIBES / 2)
})
