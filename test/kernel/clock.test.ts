import { describe, expect, it } from 'vitest'
import { iso, plusMs, systemClock } from '../../src/kernel/clock.ts'

describe('the system clock', () => {
  it('calls a task once, not before its time', async () => {
    const start = systemClock.monotonicMs()
    let calls = 0
    await new Promise<void>((resolve) => {
      systemClock.after(20, () => {
        calls++
        resolve()
      })
    })
    expect(systemClock.monotonicMs() - start).toBeGreaterThanOrEqual(19)
    expect(calls).toBe(1)
  })

  it('takes a task back', async () => {
    let called = false
    const cancel = systemClock.after(1, () => {
      called = true
    })
    cancel()
    await new Promise<void>((resolve) => systemClock.after(20, resolve))
    expect(called).toBe(false)
  })

  it('does not fire at once for a delay longer than a timer can hold', async () => {
    let called = false
    const cancel = systemClock.after(2 ** 40, () => {
      called = true
    })
    await new Promise<void>((resolve) => systemClock.after(20, resolve))
    cancel()
    expect(called).toBe(false)
  })

  it('goes only forward', () => {
    let last = systemClock.monotonicMs()
    for (let i = 0; i < 1000; i++) {
      const now = systemClock.monotonicMs()
      expect(now).toBeGreaterThanOrEqual(last)
      last = now
    }
  })
})

it('a time is written in UTC with milliseconds', () => {
  expect(iso(0)).toBe('1970-01-01T00:00:00.000Z')
  expect(iso(plusMs(1_767_323_045_000 as never, 6))).toBe('2026-01-02T03:04:05.006Z')
})
