import fc from 'fast-check'
import { expect, test } from 'vitest'
import { onlineMs, percentOf, type StatusChange } from '../../src/domain/history.ts'

const at = (time: number, status: 'online' | 'offline'): StatusChange => ({
  nodeId: 'cam',
  at: time,
  status,
  reason: 'heartbeat',
})

test('counts what lies between coming and going, within the window', () => {
  const changes = [at(10, 'online'), at(20, 'offline'), at(30, 'online')]
  expect(onlineMs(changes, 0, 100, true)).toBe(80)
  expect(onlineMs(changes, 15, 35, true)).toBe(10)
  expect(onlineMs(changes, 0, 15, false)).toBe(5)
  expect(onlineMs([at(50, 'offline')], 0, 100, false)).toBe(50)
  expect(onlineMs([], 0, 100, true)).toBe(100)
  expect(onlineMs([], 0, 100, false)).toBe(0)
})

test('is never negative and never more than the window, whatever a wall clock did', () => {
  const times = fc.array(fc.integer({ min: -1000, max: 1000 }), { maxLength: 20 })
  fc.assert(
    fc.property(
      times,
      fc.integer({ min: -500, max: 500 }),
      fc.nat(500),
      fc.boolean(),
      (list, from, span, now) => {
        const changes = list.map((time, i) => at(time, i % 2 === 0 ? 'online' : 'offline'))
        const online = onlineMs(changes, from, from + span, now)
        expect(online).toBeGreaterThanOrEqual(0)
        expect(online).toBeLessThanOrEqual(span)
      },
    ),
  )
})

test('a percentage reaches 100 only when nothing is missing', () => {
  expect(percentOf(999_999_999, 1_000_000_000)).toBe(99.999)
  expect(percentOf(5, 5)).toBe(100)
  expect(percentOf(0, 0)).toBeUndefined()
})
