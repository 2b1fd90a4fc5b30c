import { expect, test } from 'vitest'
import { Attempts } from '../../../src/bridge/sign-in/attempts.ts'
import { FakeClock } from '../../support/fake-clock.ts'

test('what was tried last is remembered of two thousand names and two hundred addresses, the newest, and cut', () => {
  const attempts = new Attempts(new FakeClock())
  for (let i = 0; i < 2001; i++) attempts.refused(`cam${i}`, '192.0.2.1', 'r'.repeat(1000))
  expect(attempts.of('cam0')).toEqual({})
  expect(attempts.of('cam1').refused?.reason).toHaveLength(201)
  expect(attempts.of('cam2000').refused?.address).toBe('192.0.2.1')
  for (let i = 0; i < 250; i++) attempts.handshakeFailed(`198.51.100.${i}`, 'no certificate')
  expect(attempts.handshakes).toHaveLength(200)
  expect(attempts.handshakes[0]?.address).toBe('198.51.100.249')
})
