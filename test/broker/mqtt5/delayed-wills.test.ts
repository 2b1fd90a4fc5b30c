import { expect, test } from 'vitest'
import type { StoredWill } from '../../../src/bridge/mqtt-store.ts'
import { DelayedWills } from '../../../src/broker/mqtt5/delayed-wills.ts'
import { RunningClock } from '../../../src/kernel/running-clock.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const WILL = {
  topic: 't',
  payload: Buffer.from('gone'),
  qos: 0 as const,
  retain: false,
  properties: { forwarded: Buffer.alloc(0), messageExpiry: null },
}

test('a will of a client is kept in memory alone where the database has no room, and an older one leaves the disk', async () => {
  const stored = new Map<string, StoredWill>()
  let room = true
  const sent: string[] = []
  const clock = new FakeClock()
  const wills = new DelayedWills({
    clock,
    running: new RunningClock(clock),
    log: { info() {}, warn() {}, error() {}, debug() {} } as never,
    send: ({ topic }) => void sent.push(topic),
    store: {
      hasRoom: () => room,
      loadWills: async () => [...stored.values()],
      putWill: async (will) => void stored.set(will.clientId, will),
      deleteWill: async (clientId) => void stored.delete(clientId),
    },
  })
  await wills.keep('c1', WILL as never, 10)
  expect(stored.size).toBe(1)
  room = false
  await wills.keep('c1', WILL as never, 10)
  expect(stored.size).toBe(0)
  wills.left('c1')
  expect(stored.size).toBe(0)
  clock.advance(10_000)
  expect(sent).toEqual(['t'])
})
