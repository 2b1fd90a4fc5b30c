import { expect, test } from 'vitest'
import { OpenPace } from '../../../src/http/api/open-pace.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const opened = (pace: OpenPace, count: number, name = 'ann') =>
  Array.from({ length: count }, () => pace.waitMs(name))

test('a wall of dashboards opens its streams at once, and who opens one after the other waits for the next', () => {
  const clock = new FakeClock()
  const pace = new OpenPace(clock)
  expect(opened(pace, 32)).toEqual(Array.from({ length: 32 }, () => 0))
  expect(opened(pace, 3)).toEqual([250, 500, 750])
  expect(pace.waitMs('bob')).toBe(0)
  clock.advance(60_000)
  expect(pace.waitMs('ann')).toBe(0)
})

test('who comes and goes without end waits no longer than all places of one principal take', () => {
  const pace = new OpenPace(new FakeClock())
  expect(Math.max(...opened(pace, 5000))).toBe(4250)
})
