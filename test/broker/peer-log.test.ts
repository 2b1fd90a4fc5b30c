import { expect, test, vi } from 'vitest'
import { PeerLog } from '../../src/broker/peer-log.ts'
import { FakeClock } from '../support/fake-clock.ts'

test('strangers from many networks hide no line about a limb or a principal, also not from the same address', () => {
  const info = vi.fn()
  const log = new PeerLog(new FakeClock(), { debug: info, info, warn: info, error: info })
  for (let i = 0; i < 500; i++) {
    log.info('violation', `2001:db8:0:${i.toString(16)}::1`, { who: 'candidate' }, 'candidate')
  }
  // Fifty, and five that the others share.
  expect(info).toHaveBeenCalledTimes(55)
  for (const who of ['limb', 'principal']) log.info('violation', '2001:db8:0:1::2', { who }, who)
  expect(info.mock.calls.slice(55).map(([, message]) => message)).toEqual(['limb', 'principal'])
  log.stop()
})
