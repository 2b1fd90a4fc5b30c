import { expect, test } from 'vitest'
import type { MonotonicMs } from '../../src/kernel/clock.ts'
import { standstillClock } from '../../src/kernel/standstill.ts'
import { FakeClock } from '../support/fake-clock.ts'

test('whoever asks the clock first after a standstill hears of it, before a timer does', () => {
  const fake = new FakeClock()
  let away = 0
  const { clock, arm } = standstillClock({
    wallMs: () => fake.wallMs(),
    monotonicMs: () => (fake.monotonicMs() + away) as MonotonicMs,
    after: (ms, task) => fake.after(ms, task),
  })
  const stood: number[] = []
  away = 60_000
  clock.monotonicMs()
  arm(5000, (ms) => stood.push(ms))
  fake.advance(20_000)
  expect(stood).toEqual([])
  away += 4000
  clock.monotonicMs()
  expect(stood).toEqual([])
  away += 7000
  clock.monotonicMs()
  expect(stood).toEqual([7000])
})

test('a timer that fires after a standstill says so before its task runs', () => {
  const fake = new FakeClock()
  let away = 0
  const { clock, arm } = standstillClock({
    wallMs: () => fake.wallMs(),
    monotonicMs: () => (fake.monotonicMs() + away) as MonotonicMs,
    after: (ms, task) => fake.after(ms, task),
  })
  const seen: string[] = []
  arm(5000, () => seen.push('stood'))
  clock.after(100, () => seen.push('task'))
  away = 8000
  fake.advance(100)
  expect(seen).toEqual(['stood', 'task'])
})
