import { expect, test } from 'vitest'
import { Quiet } from '../../src/kernel/quiet.ts'
import { FakeClock } from '../support/fake-clock.ts'

test('each key has its lines, then a count of what was held back', () => {
  const clock = new FakeClock()
  const quiet = new Quiet(clock, { quietMs: 1000, lines: 2, maxKeys: 10 })
  expect([1, 2, 3, 4].map(() => quiet.due('a'))).toEqual([0, 0, null, null])
  expect(quiet.due('b')).toBe(0)
  clock.advance(1000)
  expect(quiet.due('a')).toBe(2)
})

test('what was held back last is told when the quiet time is over, with the number of the others', () => {
  const clock = new FakeClock()
  const quiet = new Quiet(clock, { quietMs: 1000, lines: 1, maxKeys: 10 })
  const told: [string, number][] = []
  const say = (what: string) => quiet.say('a', (suppressed) => told.push([what, suppressed]))
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
  quiet.stop()
  expect(clock.timers).toBe(0)
  expect(told.at(-1)).toEqual(['six', 0])
})

test('a flood of keys shares one, and costs a bounded memory', () => {
  const clock = new FakeClock()
  const quiet = new Quiet(clock, { quietMs: 1000, lines: 1, maxKeys: 10 })
  const said = Array.from({ length: 10_000 }, (_, i) => quiet.due(`key${i}`)).filter((due) => due !== null)
  expect(said.length).toBe(11)
  expect(quiet.keys).toBeLessThanOrEqual(11)
  clock.advance(2000)
  expect(quiet.due('new')).toBe(0)
  expect(quiet.keys).toBeLessThanOrEqual(11)
})
