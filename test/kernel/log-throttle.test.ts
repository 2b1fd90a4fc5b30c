import { expect, test } from 'vitest'
import { LogThrottle } from '../../src/kernel/log-throttle.ts'
import { FakeClock } from '../support/fake-clock.ts'

test('each key has its lines, then a count of what was held back', () => {
  const clock = new FakeClock()
  const throttle = new LogThrottle(clock, { quietMs: 1000, lines: 2, maxKeys: 10 })
  expect([1, 2, 3, 4].map(() => throttle.due('a'))).toEqual([0, 0, null, null])
  expect(throttle.due('b')).toBe(0)
  clock.advance(1000)
  expect(throttle.due('a')).toBe(2)
})

test('what was held back last is told when the quiet time is over, with the number of the others', () => {
  const clock = new FakeClock()
  const throttle = new LogThrottle(clock, { quietMs: 1000, lines: 1, maxKeys: 10 })
  const told: [string, number][] = []
  const say = (what: string) => throttle.write('a', (suppressed) => told.push([what, suppressed]))
  for (const what of ['one', 'two', 'three', 'four']) say(what)
  expect(told).toEqual([['one', 0]])
  clock.advance(1000)
  expect(told).toEqual([
    ['one', 0],
    ['four', 2],
  ])
  // That was a line too: the next one waits for its turn.
  say('five')
  clock.advance(999)
  expect(told).toHaveLength(2)
  clock.advance(1)
  expect(told[2]).toEqual(['five', 0])
  clock.advance(2000)
  say('six')
  say('seven')
  throttle.stop()
  expect(clock.timers).toBe(0)
  expect(told.at(-1)).toEqual(['six', 0])
})

test('a flood of keys shares one, and costs a bounded memory', () => {
  const clock = new FakeClock()
  const throttle = new LogThrottle(clock, { quietMs: 1000, lines: 1, maxKeys: 10 })
  const said = Array.from({ length: 10_000 }, (_, i) => throttle.due(`key${i}`)).filter((due) => due !== null)
  expect(said.length).toBe(11)
  expect(throttle.keys).toBeLessThanOrEqual(11)
  clock.advance(2000)
  expect(throttle.due('new')).toBe(0)
  expect(throttle.keys).toBeLessThanOrEqual(11)
})

test('an outage is written once until it is over, its end if its begin was, and neither when it comes back at once', () => {
  const clock = new FakeClock()
  const throttle = new LogThrottle(clock, { quietMs: 1000, lines: 1, maxKeys: 10 })
  expect([throttle.once('disk'), throttle.once('disk')]).toEqual([true, false])
  clock.advance(5000)
  expect(throttle.once('disk')).toBe(false)
  expect([throttle.over('disk'), throttle.over('disk')]).toEqual([true, false])
  expect([throttle.once('disk'), throttle.over('disk')]).toEqual([true, true])
  // It flaps: the second outage within the quiet time leaves no trace.
  expect([throttle.once('disk'), throttle.over('disk')]).toEqual([false, false])
  clock.advance(1000)
  expect(throttle.once('disk')).toBe(true)
})
