import { expect, test } from 'vitest'
import { RegistrationRateLimit } from '../../src/bridge/pairing/registration-rate-limit.ts'
import { FakeClock } from '../support/fake-clock.ts'

test('a registration that changes a limb and a request of it counts for both, and not when nothing was stored', () => {
  const limit = new RegistrationRateLimit(new FakeClock())
  const registers = (stored: boolean, ...keys: string[]) => {
    const reservation = limit.reserve()
    reservation.begin()
    for (const key of keys) reservation.take(key)
    reservation.settle(stored)
  }
  for (let i = 0; i < 100; i++) registers(false, 'cam1')
  // Each with a request of its own, so that only the limb's own count can hold it.
  for (let i = 0; i < 30; i++) registers(true, 'cam1', `request-${i}`)
  expect(() => registers(true, 'cam1', 'request-30')).toThrow(/30 times within a minute/)
})

test('a request that changes again and again is a row a minute, and many requests have a bound together', () => {
  const clock = new FakeClock()
  const limit = new RegistrationRateLimit(clock)
  const change = (key: string) => {
    const reservation = limit.reserve()
    reservation.begin()
    const isRow = reservation.take(key)
    reservation.settle(true)
    return isRow
  }
  const rows = (keys: readonly string[]) => keys.filter(change).length
  const requests = Array.from({ length: 500 }, (_, i) => `request-${i}`)
  expect(rows(Array.from({ length: 20 }, () => 'one'))).toBe(1)
  expect(rows(requests)).toBe(59)
  expect(rows(requests)).toBe(0)
  clock.advance(60_000)
  expect(rows(requests)).toBe(60)
})

test('a work that runs twice takes its row once', () => {
  const limit = new RegistrationRateLimit(new FakeClock())
  const reservation = limit.reserve()
  reservation.begin()
  expect(reservation.take('one')).toBe(true)
  reservation.begin()
  expect(reservation.take('one')).toBe(true)
  const other = limit.reserve()
  other.begin()
  expect(other.take('one')).toBe(false)
})

test('what comes after a decision is a row of its own within the same minute, and counts as before', () => {
  const limit = new RegistrationRateLimit(new FakeClock())
  const change = () => {
    const reservation = limit.reserve()
    reservation.begin()
    const isRow = reservation.take('one')
    reservation.settle(true)
    return isRow
  }
  expect([change(), change()]).toEqual([true, false])
  limit.decided('one')
  expect([change(), change()]).toEqual([true, false])
  for (let i = 4; i < 30; i++) change()
  limit.decided('one')
  expect(change).toThrow(/30 times within a minute/)
})
