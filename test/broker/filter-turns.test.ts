import { Aedes } from 'aedes'
import { expect, onTestFinished, test, vi } from 'vitest'
import { FilterTurns, PORTION } from '../../src/broker/filter-turns.ts'
import { countedClock } from '../support/counted-clock.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { start, turn } from './fixture.ts'
import { DISCONNECT, publishPacket } from './wire.ts'

const FILTERS = 1000
/** Five portions, with one look at the clock each, and what is done at once. */
const MOST_IN_A_TURN = 6 * PORTION

/** Counts the calls of a method of Aedes, and returns the most in one turn of the event loop until `isOver`. */
async function mostInATurn(method: 'subscribe' | 'unsubscribe', isOver: () => boolean): Promise<number> {
  const spy = vi.spyOn(Aedes.prototype, method)
  onTestFinished(() => spy.mockRestore())
  let most = 0
  for (let before = 0; !isOver(); ) {
    await turn()
    most = Math.max(most, spy.mock.calls.length - before)
    before = spy.mock.calls.length
  }
  return most
}

test('subscriptions of a session that comes and goes have turns, and no message is lost or out of order meanwhile', async () => {
  const grants = [{ to: 'viewer', publish: ['t/#'], subscribe: ['t/#'] }]
  const limits = { maxSubscriptionsPerPrincipal: 10 * FILTERS }
  const { connect } = await start({ grants, clock: countedClock(), limits })
  const filters = Object.fromEntries(Array.from({ length: FILTERS }, (_, i) => [`t/${i}`, 1] as const))
  const session = () => connect({ username: 'viewer2', clientId: 'many', clean: false, keepalive: 60 })
  const first = await session()
  await first.subscribe(filters)
  const writer = await connect({ username: 'viewer1', keepalive: 60 })
  let sent = 0
  const send = () =>
    writer.send(publishPacket(`t/${(sent * 37) % FILTERS}`, String(sent), { qos: 1, id: ++sent }))

  first.send(DISCONNECT)
  let isGone = false
  const going = mostInATurn('unsubscribe', () => isGone)
  await first.closed
  send()
  const coming = session()
  let isBack = false
  void coming.then(() => {
    isBack = true
    isGone = true
  })
  const made = mostInATurn('subscribe', () => isBack)
  while (!isBack) {
    send()
    await turn()
  }
  const back = await coming
  for (let i = 0; i < 10; i++) send()
  await vi.waitFor(() => expect(back.messages).toHaveLength(sent))
  expect(back.messages.map(({ text }) => Number(text))).toEqual(Array.from({ length: sent }, (_, i) => i))
  expect(await made).toBeGreaterThan(0)
  expect(await made).toBeLessThanOrEqual(MOST_IN_A_TURN)
  expect(await going).toBeGreaterThan(0)
  expect(await going).toBeLessThanOrEqual(MOST_IN_A_TURN)
})

test('a session with thousands of subscriptions lets others have theirs between', async () => {
  const clock = new FakeClock()
  const turns = new FilterTurns(clock)
  const done: string[] = []
  const task = (owner: string) => () => {
    clock.standStill(1)
    done.push(owner)
  }
  for (let i = 0; i < 10 * PORTION; i++) turns.run('many', task('many'))
  expect(done.length).toBeLessThan(PORTION)
  turns.run('one', task('one'))
  while (!done.includes('one')) await turn()
  expect(done.length).toBeLessThanOrEqual(3 * PORTION)
})
