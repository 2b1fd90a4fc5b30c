import { expect, test } from 'vitest'
import { RequestPace } from '../../../src/bridge/live/request-pace.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const REQUEST_BYTES = 32_768
const BYTES_PER_SECOND = 262_144

function watched() {
  const clock = new FakeClock()
  const told: string[] = []
  const pace = new RequestPace(clock, (requestId) => {
    told.push(requestId)
    return REQUEST_BYTES
  })
  return { clock, told, pace }
}

test('what watchers hear of all requests together is 256 KiB a second, however many there are', () => {
  const { clock, told, pace } = watched()
  const requests = Array.from({ length: 100 }, (_, i) => `request-${i}`)
  for (const requestId of requests) pace.changed(requestId, true)
  const inASecond = BYTES_PER_SECOND / REQUEST_BYTES
  expect(told).toHaveLength(inASecond)
  for (let second = 1; second <= 10; second++) {
    clock.advance(1000)
    expect(told).toHaveLength((second + 1) * inASecond)
  }
  clock.advance(60_000)
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
