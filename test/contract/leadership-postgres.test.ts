import { describe, expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../src/kernel/clock.ts'
import type { Leader } from '../../src/store/engine.ts'
import { openPostgres, type PostgresDatabase } from '../../src/store/postgres/database.ts'
import { LockWait } from '../../src/store/postgres/standby.ts'
import { createPostgresStore } from '../../src/store/postgres/store.ts'
import { silent } from '../store/fixture.ts'
import { onePostgres } from '../support/one-postgres.ts'
import { patience } from '../support/patience.ts'
import { asOperator, startPostgres } from '../support/postgres.ts'
import { nodeOf } from './store.contract.ts'

const LIMIT = { timeout: patience(20_000), interval: 50 } as const

describe('leadership on PostgreSQL', () => {
  const postgres = onePostgres()
  let schemas = 0

  const admin = (text: string) => asOperator(postgres.server.host, text)

  /** A bridge as far as leading goes. */
  function candidate(schema: string, name: string, fenceMs = 600_000) {
    const database = openPostgres({
      server: postgres.server,
      schema,
      clock: systemClock,
      log: silent,
      fenceMs: () => fenceMs,
      name,
    })
    const told: (Leader | undefined)[] = []
    let lost: string | undefined
    void database.lost.then((why) => {
      lost = why
    })
    onTestFinished(() => database.close())
    return { name, database, store: createPostgresStore(database), told, lost: () => lost }
  }
  type Candidate = ReturnType<typeof candidate>

  const leads = ({ database }: Candidate) => database.leads !== undefined
  const stands = ({ database, told }: Candidate) => database.lead((leader) => void told.push(leader))
  const newSchema = () => `leadership_${schemas++}`
  const put = ({ store }: Candidate, id: string) => store.transact((tx) => tx.putNode(nodeOf(id)))
  const pidOf = async (schema: string) => {
    const rows = await admin(
      `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = (hashtext('${schema}')::bigint & 4294967295)::oid`,
    )
    return rows.map(({ pid }) => Number(pid))
  }

  test('of many that come at once one leads; when it goes another one does, each with an epoch of its own', async () => {
    const schema = newSchema()
    let waiting = ['a', 'b', 'c', 'd'].map((name) => candidate(schema, name))
    const epochs: number[] = []
    for (const each of waiting)
      stands(each)
        .then((epoch) => epochs.push(epoch))
        .catch(() => undefined)
    for (let gone = 0; gone < 4; gone++) {
      await expect.poll(() => waiting.filter(leads).length, LIMIT).toBe(1)
      const leader = waiting.find(leads) as Candidate
      await expect.poll(() => epochs.length, LIMIT).toBe(gone + 1)
      await put(leader, `by-${leader.name}`)
      waiting = waiting.filter((each) => each !== leader)
      // Whoever waits has heard who it is, and may store nothing.
      for (const each of waiting) {
        await expect.poll(() => each.told.at(-1)?.name, LIMIT).toBe(leader.name)
        await expect(put(each, 'stranger')).rejects.toMatchObject({ code: 'storage_unavailable' })
        expect(leads(each)).toBe(false)
      }
      expect(waiting.filter(leads)).toEqual([])
      await leader.database.close()
    }
    expect(epochs).toEqual([1, 2, 3, 4])
    expect(await admin(`SELECT count(*)::int AS n FROM ${schema}.nodes`)).toEqual([{ n: 4 }])
  })

  test('one whose session alone is ended, again and again, is never one of two that store', async () => {
    const schema = newSchema()
    const [first, second] = [candidate(schema, 'a'), candidate(schema, 'b')]
    await stands(first)
    stands(second).catch(() => undefined)
    await expect.poll(() => second.told.at(-1)?.name, LIMIT).toBe('a')
    let most = 0
    for (let round = 0; round < 10; round++) {
      for (const pid of await pidOf(schema)) await admin(`SELECT pg_terminate_backend(${pid}, 5000)`)
      await expect
        .poll(async () => {
          const stored = await Promise.allSettled([put(first, `a-${round}`), put(second, `b-${round}`)])
          const count = stored.filter(({ status }) => status === 'fulfilled').length
          most = Math.max(most, count)
          return count
        }, LIMIT)
        .toBe(1)
      // The first one has its lock again, or has heard that it has it no more.
      await expect.poll(() => first.lost() === undefined, LIMIT).toBe(!leads(second))
    }
    expect(most).toBe(1)
    expect((await pidOf(schema)).length).toBe(1)
  })

  test('one that is closed while it waits asks the server no more', async () => {
    const schema = newSchema()
    const [first, second] = [candidate(schema, 'a'), candidate(schema, 'b')]
    await stands(first)
    const leading = stands(second)
    await expect.poll(() => second.told.at(-1)?.name, LIMIT).toBe('a')
    await second.database.close()
    await expect(leading).rejects.toMatchObject({ code: 'storage_unavailable' })
    await first.database.close()
    expect(leads(second)).toBe(false)
  })

  test('one that was overtaken where it may not wait ends when the server cannot be asked', async () => {
    const server = { host: '/nowhere', user: 'limb', database: 'postgres' }
    const wait = new LockWait({ server, schema: 'limb', clock: systemClock }, undefined)
    wait.lostRace()
    await expect(wait.untilFree()).rejects.toThrow(/cannot be used/)
  })

  test('an older epoch stores nothing, though it has its connection still', async () => {
    const schema = newSchema()
    const first = candidate(schema, 'a')
    await stands(first)
    await put(first, 'before')
    await admin(`UPDATE ${schema}.leader SET epoch = epoch + 1`)
    await expect(put(first, 'after')).rejects.toThrow(/another bridge has taken the database over/)
    await expect.poll(() => first.lost(), LIMIT).toMatch(/another bridge/)
    // For ever: even when its own number is there again.
    await admin(`UPDATE ${schema}.leader SET epoch = epoch - 1`)
    await expect(put(first, 'later')).rejects.toThrow(/another bridge has taken the database over/)
    expect(await admin(`SELECT node_id FROM ${schema}.nodes`)).toEqual([{ node_id: 'before' }])
  })

  test('one that is cut off from its server longer than its fence has lost it, though nobody else took it', async () => {
    const own = startPostgres()
    onTestFinished(() => own.stop())
    const database: PostgresDatabase = openPostgres({
      server: own.server,
      schema: 'limb',
      clock: systemClock,
      log: silent,
      fenceMs: () => 1500,
    })
    onTestFinished(() => database.close())
    const store = createPostgresStore(database)
    await database.lead(() => undefined)
    own.kill()
    expect(await database.lost).toMatch(/within 1\.5 s \(lead\.fenceSeconds\)/)
    own.start()
    await expect(store.transact((tx) => tx.putNode(nodeOf('late')))).rejects.toMatchObject({
      code: 'storage_unavailable',
    })
    expect(store.health()).toMatchObject({ ok: false })
    expect(await asOperator(own.server.host, 'SELECT count(*)::int AS n FROM limb.nodes')).toEqual([{ n: 0 }])
  })

  test('one whose server comes back as a follower has no lock there: it is tried until the fence, and lost then', async () => {
    const own = startPostgres()
    onTestFinished(() => own.stop())
    const database: PostgresDatabase = openPostgres({
      server: own.server,
      schema: 'limb',
      clock: systemClock,
      log: silent,
      fenceMs: () => 5000,
    })
    onTestFinished(() => database.close())
    createPostgresStore(database)
    await database.lead(() => undefined)
    own.follow()
    expect(await asOperator(own.server.host, 'SELECT pg_is_in_recovery() AS follows')).toEqual([
      { follows: true },
    ])
    expect(await database.lost).toMatch(/within 5 s \(lead\.fenceSeconds\)/)
  })
})
