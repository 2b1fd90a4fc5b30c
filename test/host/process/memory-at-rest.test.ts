import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { type Collector, giveBackAtRest, nodeCollector } from '../../../src/host/process/memory-at-rest.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const MIB = 1024 * 1024

/** A collector that tells what it was asked for; nothing is worth a collection. */
function collectorOf(more: Partial<Collector>): Collector {
  return {
    busyShare: () => 0,
    setSmall: () => undefined,
    memory: () => ({ heapUsed: 40 * MIB, arrayBuffers: 20 * MIB }),
    collect: () => undefined,
    ...more,
  }
}

test('memory is given back while the bridge rests, and collected for speed while it works', () => {
  const clock = new FakeClock()
  let share = 0.9
  const told: boolean[] = []
  giveBackAtRest(clock, collectorOf({ busyShare: () => share, setSmall: (isSmall) => told.push(isSmall) }))
  clock.advance(10_000)
  expect(told).toEqual([])
  share = 0.05
  clock.advance(10_000)
  expect(told).toEqual([true])
  share = 0.5
  clock.advance(10_000)
  expect(told).toEqual([true, false])
})

test('buffers that are left of a burst are collected at rest, every few seconds, while they are many', () => {
  const clock = new FakeClock()
  const world = { share: 0.5, heapUsed: 40 * MIB, arrayBuffers: 150 * MIB }
  let collected = 0
  giveBackAtRest(
    clock,
    collectorOf({
      busyShare: () => world.share,
      memory: () => world,
      collect: () => {
        collected++
      },
    }),
  )
  clock.advance(10_000)
  expect(collected).toBe(0)
  world.share = 0.05
  clock.advance(60_000)
  expect(collected).toBe(15)
  // What is there still is in use.
  clock.advance(120_000)
  expect(collected).toBe(17)
  world.arrayBuffers = 20 * MIB
  clock.advance(120_000)
  expect(collected).toBe(17)
  // A large heap would be a long turn of the event loop.
  Object.assign(world, { arrayBuffers: 150 * MIB, heapUsed: 200 * MIB })
  clock.advance(120_000)
  expect(collected).toBe(17)
})

test('V8 gives the buffers back that nobody uses any more', () => {
  const { memory, collect } = nodeCollector()
  const before = memory().arrayBuffers
  for (let i = 0; i < 64; i++) Buffer.allocUnsafeSlow(MIB)
  // Twice: those that are young yet are freed by a thread beside.
  collect()
  collect()
  expect(memory().arrayBuffers).toBeLessThan(before + 16 * MIB)
  expect('gc' in globalThis).toBe(false)
})

test('V8 knows what it is told', () => {
  const { stdout } = spawnSync(process.execPath, ['--v8-options'], { encoding: 'utf8' })
  expect(stdout).toMatch(/^ +--optimize-for-size /m)
})
