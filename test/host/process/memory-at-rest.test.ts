import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { giveBackAtRest } from '../../../src/host/process/memory-at-rest.ts'
import { FakeClock } from '../../support/fake-clock.ts'

test('memory is given back while the bridge rests, and collected for speed while it works', () => {
  const clock = new FakeClock()
  let share = 0.9
  const told: boolean[] = []
  giveBackAtRest(clock, { busyShare: () => share, setSmall: (isSmall) => told.push(isSmall) })
  clock.advance(10_000)
  expect(told).toEqual([])
  share = 0.05
  clock.advance(10_000)
  expect(told).toEqual([true])
  share = 0.5
  clock.advance(10_000)
  expect(told).toEqual([true, false])
})

test('V8 knows what it is told', () => {
  const { stdout } = spawnSync(process.execPath, ['--v8-options'], { encoding: 'utf8' })
  expect(stdout).toMatch(/^ +--optimize-for-size /m)
})
