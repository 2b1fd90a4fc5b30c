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
