import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import { systemClock } from '../../src/kernel/clock.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { nodeOf } from '../contract/store.contract.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { patience } from '../support/patience.ts'
import { opened, temporaryFile } from './fixture.ts'

test('writes of one turn share one commit, and resolve after it', async () => {
  const commits: number[] = []
  const store = createStore(opened(temporaryFile(), { onCommit: (_, works) => commits.push(works) }))
  const seen: number[] = []
  const write = async (id: string) => {
    await store.transact((tx) => tx.putNode(nodeOf(id)))
    seen.push(commits.length)
  }
  await Promise.all(['a', 'b', 'c'].map(write))
  expect(commits).toEqual([3])
  expect(seen).toEqual([1, 1, 1])
  await write('d')
  expect(commits).toEqual([3, 1])
})

test('a turn with very many writes is split into commits of ten thousand', async () => {
  const commits: number[] = []
  const { writer } = opened(':memory:', {
    clock: new FakeClock(),
    onCommit: (_, works) => commits.push(works),
  })
  await Promise.all(Array.from({ length: 25_000 }, () => writer.write(() => undefined)))
  expect(commits).toEqual([10_000, 10_000, 5_000])
})

test('a batch takes no further work after twenty milliseconds, and the others keep their order', async () => {
  const commits: number[] = []
  const clock = new FakeClock()
  const { writer } = opened(':memory:', { clock, onCommit: (_, works) => commits.push(works) })
  const order: number[] = []
  const turns: number[] = []
  const dear = (i: number) => {
    clock.standStill(1)
    order.push(i)
  }
  const all = Array.from({ length: 80 }, (_, i) => writer.write(() => dear(i)))
  while (order.length < all.length) {
    await nextTurn()
    turns.push(order.length)
  }
  await Promise.all(all)
  expect(commits).toEqual([32, 32, 16])
  expect(turns.filter((count) => count > 0)).toEqual([32, 64, 80])
  expect(order).toEqual(order.toSorted((a, b) => a - b))
})

test('a batch takes no further work after a mebibyte of payloads: their commit is what takes long', async () => {
  const commits: number[] = []
  const { writer } = opened(':memory:', {
    clock: new FakeClock(),
    onCommit: (_, works) => commits.push(works),
  })
  const large = Array.from({ length: 5 }, () => writer.write(() => undefined, 1024 * 1024))
  const small = Array.from({ length: 50 }, () => writer.write(() => undefined, 100))
  await Promise.all([...large, ...small])
  expect(commits).toEqual([2, 2, 2, 49])
})

test('who waits for what was asked for so far is not held up by what is asked for meanwhile, without end', async () => {
  const clock = new FakeClock()
  const { writer } = opened(':memory:', { clock })
  let isOver = false
  let ran = 0
  // Whoever has an answer asks anew: there are always more than fit into a batch.
  const askOn = (): Promise<void> =>
    writer
      .write(() => {
        clock.standStill(1)
        ran++
      })
      .then(() => (isOver ? undefined : askOn()))
  const all = Array.from({ length: 80 }, askOn)
  await writer.settled()
  expect(ran).toBeGreaterThanOrEqual(80)
  expect(ran).toBeLessThan(200)
  isOver = true
  await Promise.all(all)
})

test('a write that nobody waits for joins the next commit, in its place', async () => {
  const commits: number[] = []
  const { writer } = opened(':memory:', { onCommit: (_, works) => commits.push(works) })
  const order: string[] = []
  const soon = writer.writeSoon(() => order.push('soon'))
  await nextTurn()
  await nextTurn()
  expect(commits).toEqual([])
  await Promise.all([writer.write(() => order.push('now')), soon])
  expect(order).toEqual(['soon', 'now'])
  expect(commits).toEqual([2])
})

test('a write that nobody waits for makes a commit of its own before long', async () => {
  const { writer } = opened(':memory:')
  await expect(writer.writeSoon(() => 1)).resolves.toBe(1)
})

test('a work that awaits the outside world is undone and told so, and the others of its turn are stored', async () => {
  const database = opened(temporaryFile())
  const store = createStore(database)
  let late: unknown
  let wentOn: () => void = () => {}
  const over = new Promise<void>((resolve) => {
    wentOn = resolve
  })
  const wrong = store.transact(async (tx) => {
    await tx.putNode(nodeOf('wrong'))
    await sleep(1)
    late = await tx.putNode(nodeOf('late')).catch((error: unknown) => error)
    wentOn()
  })
  const right = store.transact((tx) => tx.putNode(nodeOf('right')))
  await expect(wrong).rejects.toThrow(/broken invariant: a transaction awaited something other than its tx/)
  await right
  await over
  expect(String(late)).toMatch(/used after it had ended/)
  expect(database.sql.inTransaction).toBe(false)
  expect(database.sql.prepare('SELECT node_id FROM nodes').pluck().all()).toEqual(['right'])
})

test('no callback of the event loop sees a batch half-way', async () => {
  const database = opened(temporaryFile())
  const store = createStore(database)
  let halfWay = 0
  const spies = setInterval(() => {
    if (database.sql.inTransaction) halfWay++
  }, 0)
  for (let round = 0; round < 20; round++) {
    const works = Array.from({ length: 50 }, (_, i) =>
      store.transact(async (tx) => {
        for (let j = 0; j < 5; j++) await tx.putNode(nodeOf(`n-${i}-${j}`))
      }),
    )
    setImmediate(() => {
      if (database.sql.inTransaction) halfWay++
    })
    process.nextTick(() => {
      if (database.sql.inTransaction) halfWay++
    })
    await Promise.all(works)
  }
  clearInterval(spies)
  expect(halfWay).toBe(0)
})

test('a full disk refuses the whole commit, is logged once, and heals by itself', async () => {
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() }
  const database = opened(temporaryFile(), { log })
  const store = createStore(database)
  await store.transact((tx) => tx.putNode(nodeOf('before')))
  const pages = Number(database.sql.pragma('page_count', { simple: true }))
  database.sql.pragma(`max_page_count = ${pages}`)

  const big = nodeOf('big', { displayName: 'x'.repeat(50_000) })
  for (let round = 0; round < 2; round++) {
    const both = await Promise.allSettled([
      store.transact((tx) => tx.putNode(nodeOf('small'))),
      store.transact((tx) => tx.putNode(big)),
    ])
    for (const each of both) {
      expect(each).toMatchObject({ status: 'rejected', reason: { code: 'storage_unavailable' } })
    }
  }
  expect(store.health()).toMatchObject({ ok: false, reason: expect.stringContaining('SQLITE_FULL') })
  expect(log.error).toHaveBeenCalledTimes(1)
  expect(await store.read((tx) => tx.node('small'))).toBeNull()
  expect(await store.read((tx) => tx.node('before'))).not.toBeNull()

  database.sql.pragma(`max_page_count = ${pages + 1000}`)
  await store.transact((tx) => tx.putNode(big))
  expect(store.health()).toEqual({ ok: true })
  expect(log.info).toHaveBeenCalledTimes(1)
})

test('a database that another program holds is refused soon, and is used again when it is free', async () => {
  const file = temporaryFile()
  const store = createStore(opened(file))
  const { default: Sqlite } = await import('better-sqlite3')
  const other = new Sqlite(file)
  other.exec('BEGIN IMMEDIATE')
  await expect(store.transact((tx) => tx.putNode(nodeOf('a')))).rejects.toMatchObject({
    code: 'storage_unavailable',
  })
  other.close()
  await store.transact((tx) => tx.putNode(nodeOf('a')))
})

test('closing waits for what was asked for, also for what nobody waits for', async () => {
  const file = temporaryFile()
  const database = opened(file)
  const store = createStore(database)
  const now = store.transact((tx) => tx.putNode(nodeOf('now')))
  const soon = database.writer.writeSoon(() =>
    database.sql.prepare("INSERT INTO meta VALUES ('a', 'b')").run(),
  )
  await store.close()
  await Promise.all([now, soon])
  const again = opened(file)
  expect(again.sql.prepare("SELECT value FROM meta WHERE key = 'a'").pluck().all()).toEqual(['b'])
  expect(await createStore(again).read((tx) => tx.node('now'))).not.toBeNull()
})

test('a lazy write does not wait for the disk, and a commit of its own takes it there soon after', async () => {
  const commits: number[] = []
  const clock = countingClock()
  const { sql, writer } = opened(temporaryFile(), { clock, onCommit: (_, works) => commits.push(works) })
  const synchronous = () => sql.pragma('synchronous', { simple: true })
  const idle = clock.waiting()
  await writer.writeLazily(() => undefined)
  expect([commits.length, synchronous()]).toEqual([1, 1])
  await vi.waitFor(() => expect([commits.length, synchronous()]).toEqual([2, 2]), { timeout: patience(5000) })
  // In company with a write that waits, it waits too, and nothing is left to do.
  await Promise.all([writer.writeLazily(() => undefined), writer.write(() => undefined)])
  expect([commits, synchronous()]).toEqual([[1, 1, 2], 2])
  expect(clock.waiting()).toBe(idle)
  expect(commits).toHaveLength(3)
})

/** The system's clock, which knows how many timers are still to come. */
function countingClock() {
  const timers = new Set<object>()
  return {
    ...systemClock,
    waiting: () => timers.size,
    after(delayMs: number, run: () => void) {
      const timer = {}
      timers.add(timer)
      const cancel = systemClock.after(delayMs, () => {
        timers.delete(timer)
        run()
      })
      return () => {
        timers.delete(timer)
        cancel()
      }
    },
  }
}

test('a commit that puts nothing on the disk takes no lazy write there, and leaves that to do', async () => {
  const commits: number[] = []
  const { sql, writer } = opened(temporaryFile(), { onCommit: (_, works) => commits.push(works) })
  const put = (key: string) => sql.prepare("INSERT INTO meta (key, value) VALUES (?, '')").run(key)
  await writer.writeLazily(() => put('lazy'))
  await writer.write(() => undefined)
  await expect(
    writer.transact(
      async () => {
        put('undone')
        throw new Error('refused')
      },
      () => undefined,
    ),
  ).rejects.toThrow('refused')
  expect(commits).toHaveLength(3)
  await vi.waitFor(() => expect(commits).toHaveLength(4), { timeout: patience(5000) })
})

test('a store that nobody asks finds out by itself that there is room again, with one timer and few lines', async () => {
  const clock = new FakeClock()
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() }
  const database = opened(temporaryFile(), { clock, log })
  const store = createStore(database)
  const pages = Number(database.sql.pragma('page_count', { simple: true }))
  const big = nodeOf('big', { displayName: 'x'.repeat(50_000) })
  const idle = clock.timers
  for (let round = 0; round < 3; round++) {
    database.sql.pragma(`max_page_count = ${pages}`)
    for (let i = 0; i < 3; i++) {
      await expect(store.transact((tx) => tx.putNode(big))).rejects.toMatchObject({
        code: 'storage_unavailable',
      })
    }
    // A commit of nothing works on any disk.
    await store.transact(async (tx) => await tx.node('a'))
    expect(store.health().ok).toBe(false)
    expect(clock.timers).toBe(idle + 1)
    database.sql.pragma(`max_page_count = ${pages + 1000}`)
    clock.advance(2000)
    await database.writer.settled()
    expect(store.health()).toEqual({ ok: true })
    expect(clock.timers).toBe(idle)
  }
  // A disk that is full now and then is told once in ten seconds.
  expect(log.error).toHaveBeenCalledTimes(1)
  expect(log.info).toHaveBeenCalledTimes(1)
})
