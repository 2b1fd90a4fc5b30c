import { expect, test, vi } from 'vitest'
import { Takeovers } from '../../../src/bridge/sign-in/takeovers.ts'
import { FakeClock } from '../../support/fake-clock.ts'

test('takeovers of a thousand limbs are counted, and eight addresses of each', () => {
  const warn = vi.fn()
  const log = { debug() {}, info() {}, warn, error() {} }
  const context = { clock: new FakeClock(), log, counters: { count() {} } }
  const takeovers = new Takeovers(context as never, () => undefined)
  const replaced = (nodeId: string, times: number) => {
    for (let i = 0; i < times; i++) takeovers.opened(nodeId, `10.0.0.${i}`, `10.0.1.${i}`)
  }
  replaced('first', 1)
  for (let i = 0; i < 1000; i++) replaced(`n${i}`, 1)
  // It was forgotten: this one is its first again.
  replaced('first', 1)
  expect(warn).not.toHaveBeenCalled()
  replaced('first', 1)
  expect(warn).toHaveBeenCalledOnce()
  const [fields] = warn.mock.calls[0] as [{ addresses: string[] }]
  expect(fields.addresses.length).toBeLessThanOrEqual(8)
  takeovers.stop()
})
