import { expect, test } from 'vitest'
import { countedClock } from '../support/counted-clock.ts'
import { start, turn } from './fixture.ts'
import { DISCONNECT, PUBACK, publishPacket, type WireClient } from './wire.ts'

const grants = [{ to: 'viewer', publish: ['t/#'], subscribe: ['t/#'] }]
const SESSIONS = 12
const MESSAGES = 150
/** Each message takes a millisecond at least: a turn of five has its immediates, and what came before them. */
const MOST_IN_A_TURN = 20

/** Returns the most messages that left in one turn of the event loop until all were there. */
async function mostInATurn(sent: () => number, readers: readonly WireClient[]): Promise<number> {
  let most = 0
  let before = sent()
  while (readers.some(({ messages }) => messages.length < MESSAGES)) {
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
