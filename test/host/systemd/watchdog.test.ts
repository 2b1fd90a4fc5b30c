import { expect, test } from 'vitest'
import type { Log } from '../../../src/bridge/ports.ts'
import type { ServiceManager } from '../../../src/host/systemd/notify.ts'
import { startWatchdog, watchdogMs } from '../../../src/host/systemd/watchdog.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const nothing = async () => {}

async function pulse(
  probe: () => Promise<void>,
  env: Record<string, string> = { WATCHDOG_USEC: '30000000' },
) {
  const clock = new FakeClock()
  const fed: string[] = []
  const errors: string[] = []
  const log: Log = {
    debug() {},
    info() {},
    warn() {},
    error: (fields) => errors.push(JSON.stringify(fields)),
  }
  const manager: ServiceManager = {
    present: true,
    ready: nothing,
    status: nothing,
    alive: async (status) => {
      fed.push(status)
    },
    reloading: nothing,
    stopping: nothing,
    extend: nothing,
    failed: nothing,
    close() {},
  }
  let beats = 0
  const status = () => `beat ${++beats}`
  const stop = startWatchdog({ manager, env, pid: 7, probe, status, clock, log })
  // The first question is asked at once.
  await new Promise(setImmediate)
  const pass = async (ms: number) => {
    clock.advance(ms)
    await new Promise(setImmediate)
  }
  return { clock, fed, errors, stop, pass }
}

test('feeds the watchdog three times in its interval, each time with a new status', async () => {
  const { fed, pass } = await pulse(nothing)
  for (let i = 0; i < 3; i++) await pass(10_000)
  expect(fed).toEqual(['beat 1', 'beat 2', 'beat 3', 'beat 4'])
})

test('refreshes the status without a watchdog too', async () => {
  const { fed, pass } = await pulse(nothing, {})
  await pass(10_000)
  expect(fed).toHaveLength(2)
})

test('does not feed the watchdog while the database or the broker fails, and says so once', async () => {
  let well = false
  const { fed, errors, pass } = await pulse(async () => {
    if (!well) throw new Error('disk I/O error')
  })
  for (let i = 0; i < 3; i++) await pass(10_000)
  expect(fed).toEqual([])
  expect(errors).toEqual([expect.stringContaining('disk I/O error')])
  well = true
  await pass(10_000)
  expect(fed).toHaveLength(1)
})

test('does not feed the watchdog while a question has no answer, and asks no second one', async () => {
  let asked = 0
  const { fed, errors, pass } = await pulse(() => {
    asked++
    return new Promise(() => {})
  })
  for (let i = 0; i < 3; i++) await pass(10_000)
  expect({ asked, fed, errors: errors.length }).toEqual({ asked: 1, fed: [], errors: 1 })
})

test('ends when it is told, with no timer left', async () => {
  const { clock, fed, stop, pass } = await pulse(nothing)
  await pass(0)
  stop()
  await pass(60_000)
  expect({ timers: clock.timers, fed: fed.length }).toEqual({ timers: 0, fed: 1 })
})

test('obeys a watchdog that is meant for this process alone', () => {
  expect(watchdogMs({ WATCHDOG_USEC: '3000000', WATCHDOG_PID: '7' }, 7)).toBe(3000)
  expect(watchdogMs({ WATCHDOG_USEC: '3000000', WATCHDOG_PID: '8' }, 7)).toBeUndefined()
  for (const usec of ['0', '-1', 'soon', '']) expect(watchdogMs({ WATCHDOG_USEC: usec }, 7)).toBeUndefined()
})
