import { setImmediate as turn } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import type { Session } from '../../../src/bridge/ports.ts'
import { keyOf } from '../../support/app.ts'
import { start } from '../fixture.ts'

const REQUESTS = 100

test('requests that expire at the same moment end a few in each transaction', async () => {
  const { context, core, clock, events } = await start()
  Object.assign(context.settings.pairing, { maxPending: REQUESTS, maxPendingPerAddress: REQUESTS })
  for (let i = 0; i < REQUESTS; i++) {
    const nodeId = `cam${i}`
    const session = {
      identity: { kind: 'candidate', nodeId, key: keyOf(nodeId) },
      clientId: nodeId,
      address: '192.0.2.1',
      alive: true,
      subscribedTo: () => true,
      send: () => true,
      end: () => {},
    } satisfies Session
    core.opened(session)
    const registration = { displayName: 'Cam', platform: 'esp32', capabilities: [] }
    const address = { kind: 'node', nodeId, leaf: 'register' } as const
    await core.message(session, address, Buffer.from(JSON.stringify(registration)))
    core.closed(session, 'lost')
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
