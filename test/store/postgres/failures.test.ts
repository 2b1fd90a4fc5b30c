import { describe, expect, onTestFinished, test } from 'vitest'
import type { TokenRecord } from '../../../src/domain/records.ts'
import { systemClock } from '../../../src/kernel/clock.ts'
import { hashKey, keyMatches } from '../../../src/kernel/secrets.ts'
import { openPostgres } from '../../../src/store/postgres/database.ts'
import { createPostgresStore } from '../../../src/store/postgres/store.ts'
import { nodeOf } from '../../contract/store.contract.ts'
import { onePostgres } from '../../support/one-postgres.ts'
import { asOperator } from '../../support/postgres.ts'
import { silent } from '../fixture.ts'

const unavailable = { code: 'storage_unavailable' }

describe('a store on PostgreSQL', () => {
  const postgres = onePostgres()
  let schemas = 0

  const newSchema = () => `failures_${schemas++}`
  const open = (schema: string, server: object = postgres.server) => {
    const store = createPostgresStore(openPostgres({ server, schema, clock: systemClock, log: silent }))
    onTestFinished(() => store.close())
    return store
  }
  const admin = (text: string) => asOperator(postgres.server.host, text)
  /** The server ends every session of the bridge, as a failover does. */
  const endSessions = () =>
    admin(
      "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'limb-bridge'",
    )

  test('refuses the works of a transaction whose session ends in its middle, and stores the next one', async () => {
    const store = open(newSchema())
    await store.transact((tx) => tx.putNode(nodeOf('before')))
    const cut = store.transact(async (tx) => {
      await tx.putNode(nodeOf('cut'))
      await endSessions()
      await tx.node('cut')
    })
    const beside = store.transact((tx) => tx.putNode(nodeOf('beside')))
    await expect(cut).rejects.toMatchObject(unavailable)
    await expect(beside).rejects.toMatchObject(unavailable)
    expect(store.health()).toMatchObject({ ok: false })
    await store.transact((tx) => tx.putNode(nodeOf('after')))
    expect(store.health()).toEqual({ ok: true })
    const ids: string[] = []
    for await (const page of store.loadNodes()) ids.push(...page.map(({ nodeId }) => nodeId))
    expect(ids).toEqual(['after', 'before'])
  })

  test('a server without room is there, and not away: no other bridge would do better', async () => {
    const schema = newSchema()
    const database = openPostgres({
      server: postgres.server,
      schema,
      clock: systemClock,
      log: silent,
      fenceMs: () => 30_000,
    })
    const store = createPostgresStore(database)
    onTestFinished(() => store.close())
    await store.transact((tx) => tx.putNode(nodeOf('before')))
    await admin(`CREATE FUNCTION ${schema}.full() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$`)
    await admin(
      `CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON ${schema}.nodes EXECUTE FUNCTION ${schema}.full()`,
    )
    await expect(store.transact((tx) => tx.putNode(nodeOf('late')))).rejects.toMatchObject(unavailable)
    const health = store.health()
    expect(health).toMatchObject({ ok: false, reason: 'the server refuses it (53100)' })
    expect(health).not.toHaveProperty('away')
    await endSessions()
    await admin(`DROP TRIGGER full_disk ON ${schema}.nodes`)
    await store.transact((tx) => tx.putNode(nodeOf('late')))
    expect(store.health()).toEqual({ ok: true })
  })

  test('a statement that the server refuses is the failure of its own work: those that share the commit are stored', async () => {
    const store = open(newSchema())
    const token = (tokenId: string): TokenRecord => ({
      tokenId,
      hash: new Uint8Array(32),
      name: 'of a script',
      principal: 'ada',
      role: 'viewer',
      createdAt: 1 as TokenRecord['createdAt'],
      createdBy: 'ada',
      expiresAt: null,
      lastUsedAt: null,
      lastAddress: null,
    })
    await store.transact((tx) => tx.putToken(token('first')))
    const outcomes = await Promise.allSettled([
      store.transact((tx) => tx.putNode(nodeOf('before'))),
      // Its hash is taken.
      store.transact((tx) => tx.putToken(token('second'))),
      store.transact((tx) => tx.putNode(nodeOf('between'))),
      store.transact((tx) => tx.putToken(token('third'))),
      store.transact((tx) => tx.putNode(nodeOf('after'))),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
      'rejected',
      'fulfilled',
    ])
    expect(outcomes[1]).toMatchObject({ reason: { code: '23505' } })
    expect(store.health()).toEqual({ ok: true })
    const ids: string[] = []
    for await (const page of store.loadNodes()) ids.push(...page.map(({ nodeId }) => nodeId))
    expect(ids).toEqual(['after', 'before', 'between'])
  })

  test('a key that was refused is refused again, however the server writes bytes for this user', async () => {
    await admin("ALTER ROLE limb SET bytea_output = 'escape'")
    onTestFinished(async () => void (await admin('ALTER ROLE limb RESET bytea_output')))
    const store = open(newSchema())
    const key = hashKey('the-key-of-it')
    await store.transact((tx) => tx.putRefusedKey({ nodeId: 'cam-1', key, why: 'rejected', at: 1, until: 9 }))
    const asked = { nodeId: 'cam-1', address: undefined, now: 5, maxPending: 9, maxPendingPerAddress: 9 }
    const { refusedKeys } = await store.transact((tx) => tx.claimFacts(asked))
    expect(refusedKeys.map((refused) => keyMatches(refused.key, 'the-key-of-it'))).toEqual([true])
  })

  test('reads go on after the server has ended their session', async () => {
    const store = open(newSchema())
    await store.transact((tx) => tx.putNode(nodeOf('cam-1')))
    expect(await store.read((tx) => tx.node('cam-1'))).not.toBeNull()
    await endSessions()
    // The one that meets the end may be refused; it never says that there is nothing.
    const met = await store.read((tx) => tx.node('cam-1')).catch((error: unknown) => error)
    expect(met).not.toBeNull()
    expect(await store.read((tx) => tx.node('cam-1'))).toMatchObject({ nodeId: 'cam-1' })
  })

  test('a second bridge on the same database stores and reads nothing while the first one lives', async () => {
    const schema = newSchema()
    const first = open(schema)
    await first.transact((tx) => tx.putNode(nodeOf('cam-1')))
    const second = open(schema)
    await expect(second.transact((tx) => tx.putNode(nodeOf('cam-2')))).rejects.toThrow(
      /another bridge has the database/,
    )
    await expect(second.read((tx) => tx.node('cam-1'))).rejects.toMatchObject(unavailable)
    await first.transact((tx) => tx.putNode(nodeOf('cam-3')))
    await first.close()
    const third = open(schema)
    expect(await third.read((tx) => tx.node('cam-3'))).not.toBeNull()
    expect(await third.read((tx) => tx.node('cam-2'))).toBeNull()
  })

  test('what cannot be reached is refused as storage that is not available, without the password in a word', async () => {
    const password = 'never-to-be-told'
    const store = open(newSchema(), { host: '/nonexistent', user: 'limb', database: 'postgres', password })
    const outcomes = await Promise.allSettled([
      store.transact((tx) => tx.putNode(nodeOf('cam-1'))),
      store.read((tx) => tx.principal('ada')),
    ])
    for (const each of outcomes) {
      expect(each).toMatchObject({ status: 'rejected', reason: unavailable })
      expect(JSON.stringify(each) + String((each as PromiseRejectedResult).reason)).not.toContain(password)
    }
    expect(JSON.stringify(store.health())).not.toContain(password)
  })

  test('many reads at once share one connection, the first ones too', async () => {
    const store = open(newSchema())
    await store.transact((tx) => tx.putNode(nodeOf('cam-1')))
    await Promise.all(Array.from({ length: 50 }, () => store.read((tx) => tx.node('cam-1'))))
    const sessions = await admin(
      "SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'limb-bridge'",
    )
    // One that writes and one that reads; a store of the test before may not have left yet.
    expect(Number(sessions[0]?.n)).toBeLessThan(10)
  })

  test('a schema of a newer version is left as it is', async () => {
    const schema = newSchema()
    const store = open(schema)
    await store.transact((tx) => tx.putNode(nodeOf('cam-1')))
    await store.close()
    await admin(`UPDATE ${schema}.schema_version SET version = 999`)
    await expect(open(schema).transact(async () => {})).rejects.toThrow(/newer version/)
    expect(await admin(`SELECT version FROM ${schema}.schema_version`)).toEqual([{ version: 999 }])
  })

  test('nobody changes the audit log by a statement', async () => {
    const schema = newSchema()
    const store = open(schema)
    const entry = { at: 1, actor: 'ada', kind: 'policy.set', nodeId: null, outcome: 'set', detail: {} }
    await store.transact((tx) => tx.audit(entry))
    await store.transact((tx) => tx.audit(entry))
    for (const text of [
      "UPDATE audit SET actor = 'eve'",
      'DELETE FROM audit',
      'TRUNCATE audit',
      'UPDATE audit_anchor SET seq = 9',
    ])
      await expect(admin(`SET search_path = ${schema}; ${text}`)).rejects.toThrow(/audit/)
    expect(await store.verifyAudit()).toMatchObject({ whole: true, rows: 2 })
  })
})
