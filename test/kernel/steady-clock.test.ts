import { describe, expect, it } from 'vitest'
import type { MonotonicMs, WallMs } from '../../src/kernel/clock.ts'
import { SteadyClock } from '../../src/kernel/steady-clock.ts'

const HOUR = 3_600_000
const NOW = Date.UTC(2026, 10, 29)

/** A machine whose clocks are set by hand. */
class Machine {
  wall = NOW
  monotonic = 5000
  booted: { id: string; at: number } | undefined = { id: 'a', at: -60_000 }

  wallMs = () => this.wall as WallMs
  monotonicMs = () => this.monotonic as MonotonicMs
  after = () => () => {}

  get boot() {
    const { booted } = this
    return booted && { id: booted.id, ms: () => this.monotonic - booted.at }
  }

  passes(ms: number): void {
    this.wall += ms
    this.monotonic += ms
  }
}

describe('the steady clock', () => {
  it('begins as the wall clock, and shows times as they were when nothing leapt', () => {
    const machine = new Machine()
    const clock = new SteadyClock(machine)
    expect(clock.now()).toBe(NOW)
    machine.passes(HOUR)
    machine.wall += 300
    expect(clock.now()).toBe(NOW + HOUR)
    expect(clock.wallMs(clock.now())).toBe(NOW + HOUR)
  })

  it.each([-20 * HOUR, 20 * HOUR])(
    'moves by nothing when the wall clock leaps by %i ms, and shows the new one',
    (leap) => {
      const machine = new Machine()
      const clock = new SteadyClock(machine)
      const before = clock.now()
      machine.passes(HOUR)
      machine.wall += leap
      expect(clock.now()).toBe(before + HOUR)
      expect(clock.wallMs(before)).toBe(NOW + leap)
      expect(clock.ofWall(NOW + leap)).toBe(before)
    },
  )

  it.each([
    [
      'of the same boot, whatever the wall clock says',
      (machine: Machine) => (machine.wall += 1000 * HOUR),
      HOUR,
    ],
    [
      'of another boot, by a wall clock that was set',
      (machine: Machine) => (machine.booted = { id: 'b', at: 0 }),
      HOUR,
    ],
    [
      'of a machine that does not tell, by a wall clock',
      (machine: Machine) => (machine.booted = undefined),
      HOUR,
    ],
    [
      'of another boot, as nothing when the wall clock was set back',
      (machine: Machine) => {
        machine.booted = { id: 'b', at: 0 }
        machine.wall -= 2 * HOUR
      },
      0,
    ],
    [
      'of a machine whose boot has the name of an earlier one, by the wall clock',
      (machine: Machine) => (machine.booted = { id: 'a', at: machine.monotonic - 10 }),
      HOUR,
    ],
  ])('counts the time between two starts %s', (_which, happens, passed) => {
    const machine = new Machine()
    const before = new SteadyClock(machine)
    machine.passes(HOUR)
    const mark = JSON.parse(JSON.stringify(before.mark()))
    machine.passes(HOUR)
    happens(machine)
    const after = new SteadyClock(machine)
    after.continueFrom(mark)
    expect(after.now()).toBe(NOW + HOUR + passed)
  })

  it('does not believe a wall clock that stood before this program was made', () => {
    const machine = new Machine()
    machine.wall = Date.UTC(1972, 0, 1)
    const mark = new SteadyClock(machine).mark()
    machine.booted = { id: 'b', at: 0 }
    machine.wall = NOW
    const after = new SteadyClock(machine)
    after.continueFrom(mark)
    expect(after.now()).toBe(Date.UTC(1972, 0, 1))
    expect(after.wallMs(after.now())).toBe(NOW)
  })

  it('counts what a suspended machine slept through, once', () => {
    const machine = new Machine()
    const clock = new SteadyClock(machine)
    machine.booted = { id: 'a', at: -60_000 - HOUR }
    machine.wall += HOUR
    expect(clock.mark().steadyMs).toBe(NOW + HOUR)
    expect(clock.mark().steadyMs).toBe(NOW + HOUR)
    expect(clock.now()).toBe(NOW + HOUR)
  })
})
