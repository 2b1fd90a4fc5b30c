import { expect, test } from 'vitest'
import { LogThrottle } from '../../src/kernel/log-throttle.ts'
import { FakeClock } from '../support/fake-clock.ts'

test('each key has its lines, then a count of what was held back', () => {
  const clock = new FakeClock()
  const throttle = new LogThrottle(clock, { quietMs: 1000, lines: 2, maxKeys: 10, maxLines: 100 })
  expect([1, 2, 3, 4].map(() => throttle.due('a'))).toEqual([0, 0, undefined, undefined])
  expect(throttle.due('b')).toBe(0)
  clock.advance(1000)
  expect(throttle.due('a')).toBe(2)
})

test('what was held back last is told when the quiet time is over, with the number of the others', () => {
  const clock = new FakeClock()
  const throttle = new LogThrottle(clock, { quietMs: 1000, lines: 1, maxKeys: 10, maxLines: 100 })
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
  const throttle = new LogThrottle(clock, { quietMs: 1000, lines: 1, maxKeys: 10, maxLines: 100 })
  const said = Array.from({ length: 10_000 }, (_, i) => throttle.due(`key${i}`)).filter(
    (due) => due !== undefined,
  )
  expect(said.length).toBe(11)
  expect(throttle.keys).toBeLessThanOrEqual(11)
  clock.advance(2000)
  expect(throttle.due('new')).toBe(0)
  expect(throttle.keys).toBeLessThanOrEqual(11)
})

test('an outage is written once until it is over, its end if its begin was, and neither when it comes back at once', () => {
  const clock = new FakeClock()
  const throttle = new LogThrottle(clock, { quietMs: 1000, lines: 1, maxKeys: 10, maxLines: 100 })
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

test('all keys together have their lines, however many keys there are, then one line with the count of the others', () => {
  const clock = new FakeClock()
  const throttle = new LogThrottle(clock, { quietMs: 1000, lines: 2, maxKeys: 1000, maxLines: 20 })
  const told: [string, number][] = []
  const say = (what: string) => throttle.write(what, (suppressed) => told.push([what, suppressed]))
  for (let i = 0; i < 500; i++) say(`key${i}`)
  // Twenty, and the two of those that share.
  expect(told).toHaveLength(22)
  clock.advance(1000)
  expect(told).toHaveLength(23)
  expect(told.at(-1)).toEqual(['key499', 477])
  // The next time begins anew.
  clock.advance(1000)
  for (let i = 0; i < 500; i++) say(`other${i}`)
  expect(told).toHaveLength(23 + 22)
  throttle.stop()
  expect(clock.timers).toBe(0)
})

test('what was held back of many keys is within the bound too when their quiet time is over', () => {
  const clock = new FakeClock()
  const throttle = new LogThrottle(clock, { quietMs: 1000, lines: 1, maxKeys: 1000, maxLines: 20 })
  let lines = 0
  let others = 0
  const say = (key: string) =>
    throttle.write(key, (suppressed) => {
      lines++
      others += suppressed
    })
  const AT_A_TIME = 15
  let said = 0
  for (let n = 0; n < 40; n++) {
    for (let i = 0; i < AT_A_TIME; i++) {
      say(`key${n * AT_A_TIME + i}`)
      say(`key${n * AT_A_TIME + i}`)
      said += 2
    }
    clock.advance(100)
  }
  clock.advance(5000)
  // Four seconds and a bit, twenty each and the shared line.
  expect(lines).toBeLessThanOrEqual(6 * 21)
  expect(lines + others).toBe(said)
})

test('a key that has used up its lines costs the others none', () => {
  const throttle = new LogThrottle(new FakeClock(), { quietMs: 1000, lines: 2, maxKeys: 10, maxLines: 5 })
  for (let i = 0; i < 1000; i++) throttle.due('loud')
  expect(throttle.due('quiet')).toBe(0)
  throttle.stop()
})
