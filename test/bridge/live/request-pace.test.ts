import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { RequestPace } from '../../../src/bridge/live/request-pace.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const REQUEST_BYTES = 32_768
const BYTES_PER_SECOND = 262_144

/** `takesMs`: the time of each publication, as hundreds who watch make it. */
function watched({ bytes = REQUEST_BYTES, takesMs = 0 } = {}) {
  const clock = new FakeClock()
  const told: string[] = []
  const behind = { now: false }
  const pace = new RequestPace(
    clock,
    (requestId) => {
      told.push(requestId)
      clock.standStill(takesMs)
      return bytes
    },
    () => behind.now,
  )
  return { clock, told, pace, behind }
}

test('what watchers hear of all requests together is 256 KiB a second, however many there are', async () => {
  const { clock, told, pace } = watched()
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 250) {
      await turn()
      clock.advance(250)
    }
  }
  const requests = Array.from({ length: 100 }, (_, i) => `request-${i}`)
  for (const requestId of requests) pace.changed(requestId, true)
  const inASecond = BYTES_PER_SECOND / REQUEST_BYTES
  expect(told).toHaveLength(inASecond)
  for (let second = 1; second <= 10; second++) {
    await pass(1000)
    expect(told).toHaveLength((second + 1) * inASecond)
  }
  await pass(60_000)
  // Each was told once, those that changed first before the others, and nothing goes on for who is told all.
  expect(told).toEqual(requests)
  expect(clock.timers).toBe(0)
})

test('a quiet hour saves up no more than what a second has', () => {
  const { clock, told, pace } = watched()
  clock.advance(3_600_000)
  for (let i = 0; i < 100; i++) pace.changed(`request-${i}`, true)
  expect(told).toHaveLength(BYTES_PER_SECOND / REQUEST_BYTES)
  pace.stop()
  expect(clock.timers).toBe(0)
})

test('a request that has gone while it waited for its turn is not told any more', () => {
  const { clock, told, pace } = watched()
  for (let i = 0; i < 20; i++) pace.changed(`request-${i}`, true)
  pace.gone('request-19')
  clock.advance(10_000)
  expect(told).toHaveLength(19)
})

test('requests that change at the same moment are published in turns of the event loop, the others soon after', async () => {
  const { clock, told, pace } = watched({ bytes: 1024, takesMs: 1 })
  for (let i = 0; i < 100; i++) pace.changed(`request-${i}`, true)
  expect(told).toHaveLength(5)
  let most = 0
  for (let before = told.length, passedMs = 0; told.length < 100; before = told.length, passedMs += 20) {
    await turn()
    expect(passedMs).toBeLessThan(1000)
    clock.advance(20)
    most = Math.max(most, told.length - before)
  }
  expect(most).toBe(5)
  expect(told).toEqual(Array.from({ length: 100 }, (_, i) => `request-${i}`))
})

test('a request waits while what was published before is not with those who watch', () => {
  const { clock, told, pace, behind } = watched()
  pace.changed('request-0', true)
  behind.now = true
  pace.changed('request-1', true)
  clock.advance(1000)
  expect(told).toEqual(['request-0'])
  behind.now = false
  clock.advance(20)
  expect(told).toEqual(['request-0', 'request-1'])
})
