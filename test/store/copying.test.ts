import { copyFileSync, existsSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../src/kernel/clock.ts'
import { COPIED_TABLES, type CopySource, copyStore } from '../../src/store/copying.ts'
import { postgresSource, postgresTarget } from '../../src/store/postgres/copying.ts'
import { openPostgres } from '../../src/store/postgres/database.ts'
import { createPostgresMqttStore } from '../../src/store/postgres/mqtt/store.ts'
import { createPostgresStore } from '../../src/store/postgres/store.ts'
import { sqliteSource, sqliteTarget } from '../../src/store/sqlite/copying.ts'
import { MIGRATIONS, newestVersion } from '../../src/store/sqlite/schema/migrations.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { nodeOf } from '../contract/store.contract.ts'
import { onePostgres } from '../support/one-postgres.ts'
import { asOperator } from '../support/postgres.ts'
import { opened, silent, temporaryFile } from './fixture.ts'
import { fixtureOf } from './make-fixture.ts'

const common = { clock: systemClock, log: silent }

describe('a copy between SQLite and PostgreSQL', () => {
  const postgres = onePostgres()
  let schemas = 0

  const newServer = () => ({ ...common, server: postgres.server, schema: `copy_${schemas++}` })
  const copy = async (source: CopySource, target: Parameters<typeof copyStore>[1]) => {
    try {
      return await copyStore(source, target)
    } finally {
      await target.close()
      await source.close()
    }
  }
  const fileOf = (version: number) => {
    const file = temporaryFile()
    copyFileSync(fixtureOf(version), file)
    return file
  }

  // An old one has rows whose age nobody told; those of the newest fill every table.
  test.each([4, newestVersion(MIGRATIONS)])(
    'brings every row of schema %i there and back',
    async (version) => {
      const file = fileOf(version)
      const server = newServer()
      const there = await copy(sqliteSource(file, common), await postgresTarget(server))
      expect(there.audit).toMatchObject({ whole: true })
      const back = temporaryFile()
      const again = await copy(await postgresSource(server), sqliteTarget(back, common))
      expect(again.rows).toEqual(there.rows)
      expect(await rowsOf(sqliteSource(back, common))).toEqual(await rowsOf(sqliteSource(file, common)))
      if (version === 4) return
      const empty = Object.entries(there.rows).flatMap(([name, count]) => (count === 0 ? [name] : []))
      expect(empty).toEqual([])
    },
  )

  test('what was copied goes on: the audit log, fences, and numbers that are given once', async () => {
    const file = fileOf(newestVersion(MIGRATIONS))
    const server = newServer()
    await copy(sqliteSource(file, common), await postgresTarget(server))
    const sqlite = createStore(opened(file))
    const database = openPostgres(server)
    onTestFinished(() => database.close())
    const store = createPostgresStore(database)
    const entry = {
      at: 1,
      actor: 'ada',
      kind: 'lease.granted',
      nodeId: null,
      outcome: 'ok',
      detail: {},
    } as const
    const use = { clientId: 'wall', qos: 1, retain: false } as const
    const fences: number[] = []
    for (const each of [sqlite, store]) {
      await each.transact((tx) => tx.audit(entry))
      fences.push(await each.transact((tx) => tx.nextFence()))
    }
    expect(fences[1]).toBe(fences[0])
    expect(await store.verifyAudit()).toMatchObject({ whole: true })
    expect(await store.auditEnds()).toEqual(await sqlite.auditEnds())
    const message = { topic: 't', payload: Buffer.from('x'), extra: null, brokerId: 'b', brokerCounter: 1 }
    const mqtt = createPostgresMqttStore(database)
    const [sequence = 0] = await mqtt.enqueue([use], message)
    expect((await mqtt.queueSizes()).every(({ newest }) => newest <= sequence)).toBe(true)
  })

  test('a target that holds something is refused and left as it was', async () => {
    const server = newServer()
    const store = createPostgresStore(openPostgres(server))
    await store.transact((tx) => tx.putNode(nodeOf('cam-1')))
    await store.close()
    const source = sqliteSource(fileOf(newestVersion(MIGRATIONS)), common)
    await expect(copy(source, await postgresTarget(server))).rejects.toThrow(
      /not empty: its table nodes has 1/,
    )
    const file = fileOf(newestVersion(MIGRATIONS))
    expect(() => sqliteTarget(file, common)).toThrow(/is there already/)
  })

  test('nothing is copied while a bridge runs on one of them', async () => {
    const file = fileOf(newestVersion(MIGRATIONS))
    opened(file)
    expect(() => sqliteSource(file, common)).toThrow(/in use/i)
    const server = newServer()
    const store = createPostgresStore(openPostgres(server))
    onTestFinished(() => store.close())
    await store.transact((tx) => tx.putNode(nodeOf('cam-1')))
    await expect(postgresSource(server)).rejects.toThrow(/Another bridge has the database/)
  })

  test('a source whose audit log was changed is not copied, and nothing is left of the copy', async () => {
    const server = newServer()
    const source = sqliteSource(fileOf(newestVersion(MIGRATIONS)), common)
    await copy(source, await postgresTarget(server))
    const { host } = postgres.server
    await asOperator(host, `ALTER TABLE ${server.schema}.audit DISABLE TRIGGER USER`)
    await asOperator(host, `UPDATE ${server.schema}.audit SET actor = 'eve'`)
    const file = temporaryFile()
    await expect(copy(await postgresSource(server), sqliteTarget(file, common))).rejects.toThrow(/not whole/)
    expect(existsSync(file)).toBe(false)
  })
})

async function rowsOf(source: CopySource): Promise<Record<string, unknown>> {
  const all: Record<string, unknown> = {}
  for (const table of COPIED_TABLES) {
    const rows: unknown[] = []
    for await (const page of source.pages(table)) rows.push(...page)
    all[table.name] = { rows, highest: table.numbered && (await source.highest(table)) }
  }
  await source.close()
  return all
}
