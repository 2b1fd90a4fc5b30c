import { expect, test, vi } from 'vitest'
import type { Backups } from '../../../src/bridge/ports.ts'
import { pruneChore } from '../../../src/bridge/upkeep/chores.ts'
import { type Chore, Housekeeping } from '../../../src/bridge/upkeep/housekeeping.ts'
import { Retries } from '../../../src/bridge/upkeep/retries.ts'
import { Refusal } from '../../../src/kernel/errors.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const log = () => ({ debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() })
const settled = () => new Promise((resolve) => setImmediate(resolve))

async function pass(clock: FakeClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 50) {
    clock.advance(50)
    await settled()
  }
}

/** A chore that counts its turns. */
function countedChore() {
  let runs = 0
  const chore: Chore = {
    name: 'other',
    everyMs: 100,
    async run() {
      runs++
      return 'done'
    },
  }
  return { chore, runs: () => runs }
}

test('one timer serves all chores, one at a time, and what has more to do comes back soon', async () => {
  const clock = new FakeClock()
  const ran: string[] = []
  let left = 3
  const keeping = new Housekeeping(clock, log(), [
    {
      name: 'much',
      everyMs: 10_000,
      firstMs: 1000,
      async run() {
        ran.push('much')
        return --left > 0 ? 'more' : 'done'
      },
    },
    {
      name: 'little',
      everyMs: 10_000,
      firstMs: 1020,
      async run() {
        ran.push('little')
        return 'done'
      },
    },
  ])
  keeping.start()
  expect(clock.timers).toBe(1)
  await pass(clock, 2000)
  expect(ran.toSorted()).toEqual(['little', 'much', 'much', 'much'])
  expect(clock.timers).toBe(1)
  await keeping.stop()
  expect(clock.timers).toBe(0)
})

test('a chore that is apart keeps no other one waiting, runs once at a time, and is waited for at the end', async () => {
  const clock = new FakeClock()
  const backup = Promise.withResolvers<'done'>()
  let backups = 0
  const other = countedChore()
  const keeping = new Housekeeping(clock, log(), [
    {
      name: 'apart',
      everyMs: 1000,
      isApart: true,
      run() {
        backups++
        return backup.promise
      },
    },
    other.chore,
  ])
  keeping.start()
  await pass(clock, 5000)
  expect(backups).toBe(1)
  expect(other.runs()).toBeGreaterThan(40)
  expect(clock.timers).toBe(1)
  let stopped = false
  const stopping = keeping.stop().then(() => {
    stopped = true
  })
  await settled()
  expect(stopped).toBe(false)
  backup.resolve('done')
  await stopping
  expect(clock.timers).toBe(0)
})

test('a chore that fails is told once, goes on being tried, and keeps no other one from its turn', async () => {
  const clock = new FakeClock()
  const lines = log()
  let broken = true
  const other = countedChore()
  const keeping = new Housekeeping(clock, lines, [
    {
      name: 'broken',
      everyMs: 100,
      async run() {
        if (broken) throw new Error('no disk')
        return 'done'
      },
    },
    other.chore,
  ])
  keeping.start()
  await pass(clock, 3000)
  expect(lines.warn).toHaveBeenCalledTimes(1)
  expect(other.runs()).toBeGreaterThan(5)
  broken = false
  await pass(clock, 1000)
  expect(lines.info).toHaveBeenCalledTimes(1)
  await keeping.stop()
})

test('what a full disk interrupted is done when there is room, and a bug is not swallowed', async () => {
  const lines = log()
  const leftovers = new Retries(lines)
  let full = true
  let done = 0
  const work = async () => {
    if (full) throw new Refusal('storage_unavailable', 'full')
    done++
  }
  await leftovers.run('remove the data of cam', work)
  await leftovers.run('remove the data of cam', work)
  await leftovers.retry()
  expect(leftovers.size).toBe(1)
  expect(lines.warn).toHaveBeenCalledTimes(1)
  full = false
  await leftovers.retry()
  expect([leftovers.size, done]).toEqual([0, 1])
  await expect(leftovers.run('x', () => Promise.reject(new Error('a bug')))).rejects.toThrow('a bug')
})

test('old rows wait for a backup, and go step by step after it', async () => {
  const lines = log()
  let [isUnderWay, steps] = [true, 0]
  const backups = {
    get isUnderWay() {
      return isUnderWay
    },
  } as Backups
  const chore = pruneChore({ log: lines, backups }, async () => ({ rows: 100, more: ++steps < 3 }))
  expect([await chore.run(), await chore.run(), steps]).toEqual(['more', 'more', 0])
  isUnderWay = false
  expect([await chore.run(), await chore.run(), await chore.run()]).toEqual(['more', 'more', 'done'])
  expect(lines.info.mock.calls).toEqual([[{ rows: 300 }, 'old rows are gone']])
})
