import { setImmediate as turn } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import { start } from '../fixture.ts'

const REQUESTS = 100

test('requests that expire at the same moment end a few in each transaction', async () => {
  const { context, core, clock, events, register } = await start()
  Object.assign(context.settings.pairing, { maxPending: REQUESTS, maxPendingPerAddress: REQUESTS })
  for (let i = 0; i < REQUESTS; i++) {
    core.closed(await register(`cam${i}`), 'lost')
  }
  const { transact } = context.store
  const transactions = vi.fn()
  context.store.transact = (work) => {
    transactions()
    return transact(work)
  }
  clock.advance(62_000)
  const expired = () => events.filter((kind) => kind === 'pairing_expired').length
  const inEachTurn: number[] = []
  for (let before = 0; before < REQUESTS; before = expired()) {
    await turn()
    inEachTurn.push(expired() - before)
  }
  expect(Math.max(...inEachTurn)).toBeLessThanOrEqual(32)
  expect(transactions).toHaveBeenCalledTimes(4)
})
