import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { Deadlines, DeadlineTimer } from '../../src/kernel/deadline-timer.ts'
import type { Deadlined } from '../../src/kernel/deadlines.ts'
import { FakeClock } from '../support/fake-clock.ts'

interface Item extends Deadlined {
  readonly name: string
}

const item = (name: string): Item => ({ name, deadline: Infinity, scheduledAt: Infinity })

function deadlines(minDelayMs = 0) {
  const clock = new FakeClock()
  const due: string[] = []
  const stalls: number[] = []
  const timer = new Deadlines<Item>(clock, ({ name }) => due.push(name), {
    minDelayMs,
    stoodStill: (lateMs) => stalls.push(lateMs),
  })
  return { clock, due, stalls, timer }
}

/** Ten whose time has come at the same moment; each takes three milliseconds. */
function tenDueAtOnce() {
  const clock = new FakeClock()
  const due: string[] = []
  const handle = ({ name }: Item) => {
    due.push(name)
    clock.standStill(3)
  }
  const timer = new Deadlines<Item>(clock, handle, { minDelayMs: 50 })
  const names = Array.from({ length: 10 }, (_, i) => `limb${i}`)
  for (const name of names) timer.set(item(name), 1000)
  clock.advance(1000)
  return { clock, due, names }
}

describe('many deadlines', () => {
  it('that come at the same moment have eight milliseconds of a turn after the first, and the rest later ones', async () => {
    const { clock, due, names } = tenDueAtOnce()
    const inEachTurn = [due.length]
    while (due.length < names.length) {
      const before = due.length
      await turn()
      clock.advance(12)
      inEachTurn.push(due.length - before)
    }
    expect(Math.max(...inEachTurn)).toBeLessThanOrEqual(4)
    expect(new Set(due)).toEqual(new Set(names))
    expect(clock.timers).toBe(0)
  })

  it('that had no time in a turn are handled in the next one, though others wait to be handled together', async () => {
    const { clock, due, names } = tenDueAtOnce()
    for (let turns = 0; turns < 4; turns++) {
      await turn()
      clock.advance(12)
    }
    expect(due).toHaveLength(names.length)
  })

  it('come one by one with one timer, and not when they were cleared or moved', () => {
    const { clock, due, timer } = deadlines()
    const [a, b, c] = [item('a'), item('b'), item('c')]
    timer.set(a, 3000)
    timer.set(b, 1000)
    timer.set(c, 2000)
    expect(clock.timers).toBe(1)
    clock.advance(1000)
    expect(due).toEqual(['b'])
    timer.clear(c)
    a.deadline += 500
    clock.advance(2499)
    expect(due).toEqual(['b'])
    clock.advance(1)
    expect(due).toEqual(['b', 'a'])
    expect(clock.timers).toBe(0)
  })

  it('that are close together come together', () => {
    const { clock, due, timer } = deadlines(50)
    timer.set(item('a'), 1)
    timer.set(item('b'), 40)
    clock.advance(49)
    expect(due).toEqual([])
    clock.advance(1)
    expect(due).toEqual(['a', 'b'])
  })

  it('wait for two seconds after a standstill, which is told once', () => {
    const { clock, due, stalls, timer } = deadlines()
    const heard = item('heard')
    timer.set(heard, 1000)
    timer.set(item('silent'), 1500)
    clock.standStill(9000)
    clock.advance(0)
    expect([due, stalls]).toEqual([[], [8000]])
    // What was found lost meanwhile does not bring the end of the grace forward.
    timer.set(item('lost'), 10)
    heard.deadline = clock.monotonicMs() + 60_000
    clock.advance(1999)
    expect(due).toEqual([])
    clock.advance(1)
    expect(due).toEqual(['silent', 'lost'])
    clock.advance(58_000)
    expect([due, stalls]).toEqual([['silent', 'lost', 'heard'], [8000]])
  })

  it('of a timer that is a little late are those of a busy machine', () => {
    const { clock, due, stalls, timer } = deadlines()
    timer.set(item('a'), 1000)
    clock.standStill(2000)
    clock.advance(0)
    expect([due, stalls]).toEqual([['a'], []])
  })

  it('come no more after a stop', () => {
    const { clock, due, timer } = deadlines()
    timer.set(item('a'), 1000)
    timer.stop()
    timer.set(item('b'), 10)
    clock.advance(5000)
    expect([due, clock.timers]).toEqual([[], 0])
  })
})

it('a standstill is seen by who asks before the timer has run', () => {
  const clock = new FakeClock()
  const rung: number[] = []
  const timer = new DeadlineTimer({
    clock,
    ring(now) {
      rung.push(now)
      return Infinity
    },
  })
  timer.set(clock.monotonicMs() + 1000)
  expect(timer.inGrace()).toBe(false)
  clock.standStill(5000)
  expect(timer.inGrace()).toBe(true)
  clock.advance(1999)
  expect([timer.inGrace(), rung]).toEqual([true, []])
  clock.advance(1)
  expect([timer.inGrace(), rung.length]).toEqual([false, 1])
})
