import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalJson } from '../../src/domain/canonical.ts'
import type { AuditEntry } from '../../src/domain/records.ts'
import { chainHash } from '../../src/store/audit-chain.ts'
import type { Database } from '../../src/store/sqlite/database.ts'
import { MIGRATIONS } from '../../src/store/sqlite/schema/migrations.ts'
import { createStore, type SqliteStore } from '../../src/store/sqlite/store.ts'
import { AuditTable } from '../../src/store/sqlite/tables/audit.ts'
import { AuditChain } from '../../src/store/sqlite/tables/audit-chain.ts'
import { open, opened, silent, temporaryFile } from './fixture.ts'

const entry = (kind: string, detail: Record<string, unknown> = {}): AuditEntry => ({
  at: 1,
  actor: 'admin',
  kind,
  nodeId: null,
  outcome: 'done',
  detail,
})

async function append(store: SqliteStore, ...kinds: string[]): Promise<void> {
  await store.transact(async (tx) => {
    for (const kind of kinds) await tx.audit(entry(kind))
  })
}

/** What an attacker with the file can do: the triggers are gone. */
function withoutTriggers({ sql }: Database): void {
  const names = sql.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").pluck().all()
  for (const name of names) sql.exec(`DROP TRIGGER ${String(name)}`)
}

test('any change, deletion or exchange of rows behind the back of the triggers is found where it begins', async () => {
  const text = fc.string({ maxLength: 8, unit: 'grapheme' })
  const entries = fc.array(
    fc.record({
      at: fc.nat(),
      actor: text,
      kind: text,
      nodeId: fc.option(text),
      outcome: text,
      detail: fc.dictionary(text, fc.jsonValue({ maxDepth: 2 })),
    }),
    { minLength: 2, maxLength: 12 },
  )
  const damages = ['actor', 'kind', 'outcome', 'detail', 'node_id', 'at', 'hash', 'delete'] as const
  await fc.assert(
    fc.asyncProperty(entries, fc.constantFrom(...damages), fc.nat(), async (rows, damage, where) => {
      const database = open(':memory:')
      const store = createStore(database)
      await store.transact(async (tx) => {
        for (const row of rows) await tx.audit(row)
      })
      expect(await store.verifyAudit()).toMatchObject({ whole: true, rows: rows.length })
      withoutTriggers(database)
      // A cut at the very end needs a hash that is kept elsewhere.
      const seq = 1 + (where % (rows.length - 1))
      if (damage === 'delete') database.sql.prepare('DELETE FROM audit WHERE seq = ?').run(seq)
      else if (damage === 'at') database.sql.prepare('UPDATE audit SET at = at + 1 WHERE seq = ?').run(seq)
      else if (damage === 'hash')
        database.sql.prepare('UPDATE audit SET hash = zeroblob(32) WHERE seq = ?').run(seq)
      else
        database.sql
          .prepare(`UPDATE audit SET ${damage} = ifnull(${damage}, '') || 'x' WHERE seq = ?`)
          .run(seq)
      expect(await store.verifyAudit()).toMatchObject({
        whole: false,
        rows: seq - 1,
        brokenAt: seq,
      })
      await store.close()
    }),
    { numRuns: 60 },
  )
})

test('a row of a work that was undone leaves no gap', async () => {
  const store = createStore(opened(':memory:'))
  const undone = store.transact(async (tx) => {
    await tx.audit(entry('undone'))
    throw new Error('no')
  })
  await Promise.allSettled([append(store, 'a'), undone, append(store, 'b')])
  expect(await store.verifyAudit()).toMatchObject({ whole: true, rows: 2 })
})

test('rows cannot be changed, deleted, replaced or put between', async () => {
  const database = opened(':memory:')
  await append(createStore(database), 'a', 'b', 'c')
  const { sql } = database
  expect(() => sql.exec("UPDATE audit SET actor = 'nobody'")).toThrow(/append-only/)
  expect(() => sql.exec('DELETE FROM audit WHERE seq = 3')).toThrow(/append-only/)
  const row = "(2, 1, 'a', 'b', NULL, 'c', '{}', zeroblob(32), 2, NULL)"
  expect(() => sql.exec(`INSERT OR REPLACE INTO audit VALUES ${row}`)).toThrow(/append-only/)
  expect(() => sql.exec(`INSERT INTO audit VALUES ${row.replace('2', '9')}`)).toThrow(/append-only/)
})

/** The number and hash of a row, to keep elsewhere. */
function pairOf({ sql }: Database, seq: number): { seq: number; hash: Uint8Array } {
  return sql.prepare('SELECT seq, hash FROM audit WHERE seq = ?').get(seq) as never
}

/** Moves the anchor and deletes up to it, as retention does, but says nothing of it. */
function cutHead({ sql }: Database, seq: number): void {
  sql.prepare('UPDATE audit_anchor SET (seq, hash) = (SELECT seq, hash FROM audit WHERE seq = ?)').run(seq)
  sql.prepare('DELETE FROM audit WHERE seq <= ?').run(seq)
}

test('the anchor is one, rises, is a row before the newest, and cannot be replaced', async () => {
  const database = opened(':memory:')
  await append(createStore(database), 'a', 'b', 'c', 'd')
  const { sql } = database
  const refused = /number and hash of an audit row before the newest/
  expect(() => sql.exec('UPDATE audit_anchor SET seq = 2')).toThrow(refused)
  expect(() => cutHead(database, 4)).toThrow(refused)
  cutHead(database, 2)
  expect(() => sql.exec('DELETE FROM audit WHERE seq = 3')).toThrow(/append-only/)
  expect(() => sql.exec('DELETE FROM audit_anchor')).toThrow(/stays/)
  for (const insert of ['INSERT OR REPLACE', 'REPLACE', 'INSERT OR IGNORE']) {
    const third = 'SELECT 1, seq, hash FROM audit WHERE seq = 3'
    expect(() => sql.exec(`${insert} INTO audit_anchor ${third}`), insert).toThrow(/has its anchor/)
  }
  await append(createStore(database), 'e')
  expect(sql.prepare('SELECT seq FROM audit').pluck().all()).toEqual([3, 4, 5])
})

test('rows that went without a row of retention are missed, wherever the anchor was put', async () => {
  const database = opened(':memory:')
  const store = createStore(database)
  await append(store, 'a', 'b', 'c', 'd')
  cutHead(database, 3)
  expect(await store.verifyAudit()).toMatchObject({
    whole: false,
    brokenAt: 1,
    problem: 'rows from 1 on are gone, and no audit.pruned says that retention took them',
  })
  withoutTriggers(database)
  database.sql.exec('DELETE FROM audit')
  expect(await store.verifyAudit()).toMatchObject({ whole: false, brokenAt: 1 })
  database.sql.exec('UPDATE audit_anchor SET seq = 0, hash = zeroblob(32)')
  expect(await store.verifyAudit()).toEqual({
    whole: false,
    rows: 0,
    ends: [],
    brokenAt: 1,
    problem: 'the log is empty, and a bridge never leaves it so',
  })
  database.sql.exec('DELETE FROM audit_anchor')
  expect(await store.verifyAudit()).toMatchObject({ whole: false, problem: expect.stringMatching(/deleted/) })
})

test('after a pruning, an anchor that moved further or back is missed too', async () => {
  for (const to of [3, 5]) {
    const database = opened(':memory:')
    const store = createStore(database)
    await append(store, 'a', 'b', 'c', 'd', 'e', 'f')
    const rows = database.sql.prepare('SELECT seq, hash FROM audit').all() as {
      seq: number
      hash: Uint8Array
    }[]
    await database.writer.write(() =>
      new AuditChain(database.sql, 'audit').prune({ before: 0, keep: 4 }, 1000, 7),
    )
    expect(database.sql.prepare('SELECT seq FROM audit ORDER BY seq').pluck().all()).toEqual([4, 5, 6, 7])
    expect(await store.verifyAudit()).toMatchObject({ whole: true, rows: 4, firstSeq: 4, lastSeq: 7 })
    withoutTriggers(database)
    database.sql.prepare('UPDATE audit_anchor SET seq = ?, hash = ?').run(to, rows[to - 1]?.hash)
    database.sql.prepare('DELETE FROM audit WHERE seq <= ?').run(to)
    const moved = await store.verifyAudit()
    expect(moved, String(to)).toMatchObject(to === 3 ? { whole: true } : { whole: false, brokenAt: 4 })
  }
})

test('a pair that was kept elsewhere shows a cut end and a chain that was written anew', async () => {
  const database = opened(':memory:')
  const store = createStore(database)
  await append(store, 'a', 'b', 'c')
  const { lastSeq, lastHash } = await store.verifyAudit()
  const kept = pairOf(database, 3)
  expect([lastSeq, lastHash]).toEqual([kept.seq, kept.hash])
  await append(store, 'd')
  expect(await store.verifyAudit(kept)).toMatchObject({ whole: true, known: 'there', lastSeq: 4 })
  expect(await store.verifyAudit({ seq: 3, hash: pairOf(database, 2).hash })).toMatchObject({
    whole: false,
    brokenAt: 3,
  })

  withoutTriggers(database)
  database.sql.exec('DELETE FROM audit WHERE seq >= 3')
  expect(await store.verifyAudit()).toMatchObject({ whole: true, lastSeq: 2 })
  expect(await store.verifyAudit(kept)).toMatchObject({
    whole: false,
    brokenAt: 3,
    problem: 'rows from 3 on are gone: row 3, which you kept, is behind the end',
  })
  await append(store, 'other', 'rows')
  expect(await store.verifyAudit()).toMatchObject({ whole: true, lastSeq: 4 })
  expect(await store.verifyAudit(kept)).toMatchObject({ whole: false, brokenAt: 3 })
})

test('a pair whose row retention took is told so, and the newest of those still compares', async () => {
  const database = opened(':memory:')
  const store = createStore(database)
  await append(store, 'a', 'b', 'c', 'd')
  const [first, second] = [pairOf(database, 1), pairOf(database, 2)]
  await database.writer.write(() =>
    new AuditChain(database.sql, 'audit').prune({ before: 0, keep: 3 }, 1000, 7),
  )
  expect(await store.verifyAudit(first)).toMatchObject({ whole: true, known: 'pruned' })
  expect(await store.verifyAudit(second)).toMatchObject({ whole: true, known: 'pruned' })
  expect(await store.verifyAudit({ seq: 2, hash: first.hash })).toMatchObject({ whole: false, brokenAt: 2 })
})

test('a log that is pruned and added to while it is verified is whole', async () => {
  const database = opened(':memory:')
  const store = createStore(database)
  const batch = Array.from({ length: 3500 }, () => 'x')
  await append(store, ...batch)
  const chain = new AuditChain(database.sql, 'audit')
  const verdict = store.verifyAudit(pairOf(database, 10))
  await database.writer.write(() => chain.prune({ before: 0, keep: 1000 }, 2700, 7))
  await append(store, 'y')
  expect(await verdict).toMatchObject({ whole: true })
})

describe('the three logs of the audit log', () => {
  const DECISION = 'policy.set'
  const ACTIVITY = 'invocation.started'
  const ATTEMPT = 'request.refused'
  const rowsOf = (database: Database, table: string) =>
    database.sql.prepare(`SELECT seq FROM ${table} ORDER BY seq`).pluck().all()

  test('are listed as one, in order of their numbers, page by page, and verify as one', async () => {
    const database = opened(':memory:')
    const store = createStore(database)
    const kinds = Array.from({ length: 30 }, (_, i) => [DECISION, ACTIVITY, ATTEMPT][i % 3] ?? '')
    await append(store, ...kinds)
    for (const order of ['oldest', 'newest'] as const) {
      const seen: number[] = []
      for (let after: string | undefined; ; ) {
        const page = await store.read((tx) => tx.auditRows({}, order, after, 7))
        seen.push(...page.items.map(({ seq }) => seq))
        after = page.next
        if (after === undefined) break
      }
      const all = Array.from({ length: 30 }, (_, i) => i + 1)
      expect(seen).toEqual(order === 'oldest' ? all : all.reverse())
    }
    expect(await store.verifyAudit()).toMatchObject({
      whole: true,
      rows: 30,
      firstSeq: 1,
      lastSeq: 28,
      ends: [
        { log: 'decisions', seq: 28 },
        { log: 'activity', seq: 29 },
        { log: 'attempts', seq: 30 },
      ],
    })
  })

  test('are pruned apart: however many attempts and invocations there are, no decision goes, and the rest verifies', async () => {
    const database = opened(':memory:')
    const store = createStore(database)
    await append(store, DECISION, DECISION)
    for (let i = 0; i < 20; i++) await append(store, ATTEMPT, ACTIVITY)
    await append(store, DECISION)
    const table = new AuditTable(database.sql)
    const retention = {
      decisions: { before: 0, keep: 3 },
      activity: { before: 0, keep: 5 },
      attempts: { before: 0, keep: 2 },
    }
    await database.writer.write(() => table.prune(retention, 1000, 7))
    expect(rowsOf(database, 'audit')).toEqual([1, 2, 43])
    expect(rowsOf(database, 'audit_activity')).toHaveLength(5)
    expect(rowsOf(database, 'audit_attempts')).toHaveLength(2)
    expect(await database.writer.write(() => table.prune(retention, 1000, 7))).toBe(0)
    expect(await store.verifyAudit()).toMatchObject({ whole: true, rows: 10 })
    await append(store, ATTEMPT, DECISION)
    expect(await store.verifyAudit()).toMatchObject({ whole: true, rows: 12 })
  })

  test('are pruned apart while they are verified', async () => {
    const database = opened(':memory:')
    const store = createStore(database)
    await append(
      store,
      ...Array.from({ length: 4000 }, (_, i) => [DECISION, ACTIVITY, ATTEMPT, ATTEMPT][i % 4] ?? ''),
    )
    const verdict = store.verifyAudit()
    const chain = new AuditChain(database.sql, 'audit_attempts')
    await database.writer.write(() => chain.prune({ before: 0, keep: 10 }, 1995, 7))
    await append(store, ATTEMPT)
    expect(await verdict).toMatchObject({ whole: true })
  })

  test('miss a row, a whole log, or one of another log in its place', async () => {
    const damages = {
      'a row of the attempts': ['DELETE FROM audit_attempts WHERE seq = 3', 3],
      'all activity': [
        'DELETE FROM audit_activity; UPDATE audit_activity_anchor SET seq = 0, hash = zeroblob(32)',
        2,
      ],
      'the newest attempt, which is not the newest row': ['DELETE FROM audit_attempts WHERE seq = 6', 6],
      'an attempt made a decision': [
        'INSERT INTO audit SELECT * FROM audit_attempts WHERE seq = 3; DELETE FROM audit_attempts WHERE seq = 3',
        3,
      ],
      'a text of activity': ["UPDATE audit_activity SET actor = 'eve' WHERE seq = 5", 5],
    } as const
    for (const [name, [statement, brokenAt]] of Object.entries(damages)) {
      const database = opened(':memory:')
      const store = createStore(database)
      await append(store, DECISION, ACTIVITY, ATTEMPT, DECISION, ACTIVITY, ATTEMPT, DECISION)
      withoutTriggers(database)
      database.sql.exec(statement)
      expect(await store.verifyAudit(), name).toMatchObject({ whole: false, brokenAt })
    }
  })

  test('each show with a pair of their own that their end was cut or written anew', async () => {
    const database = opened(':memory:')
    const store = createStore(database)
    await append(store, DECISION, ACTIVITY, ATTEMPT)
    const { ends } = await store.verifyAudit()
    await append(store, ATTEMPT, ACTIVITY)
    for (const pair of ends) expect(await store.verifyAudit(pair)).toMatchObject({ known: 'there' })
    withoutTriggers(database)
    database.sql.exec('DELETE FROM audit_attempts; DELETE FROM audit_activity WHERE seq > 2')
    await append(store, 'signin.refused')
    const attempt = ends.find(({ log }) => log === 'attempts')
    expect(await store.verifyAudit()).toMatchObject({ whole: true })
    expect(await store.verifyAudit(attempt)).toMatchObject({ whole: false, brokenAt: 3 })
  })

  test('hold every row that a bridge of before wrote into one', async () => {
    const file = temporaryFile()
    const old = open(file, { migrations: MIGRATIONS.filter(({ version }) => version < 12) })
    const chain = new AuditChain(old.sql, 'audit', 'numbered')
    for (let i = 0; i < 6; i++) chain.append(entry([DECISION, ATTEMPT][i % 2] ?? ''))
    await old.close()
    const database = opened(file)
    const store = createStore(database)
    await append(store, ATTEMPT, DECISION, ACTIVITY)
    expect(await store.verifyAudit()).toMatchObject({ whole: true, rows: 9 })
    await database.writer.write(() =>
      new AuditChain(database.sql, 'audit').prune({ before: 0, keep: 4 }, 1000, 7),
    )
    expect(rowsOf(database, 'audit')).toEqual([5, 6, 8, 10])
    expect(await store.verifyAudit()).toMatchObject({ whole: true, rows: 6 })
  })
})

describe('the triggers that guard the log', () => {
  const KIND = 'audit.triggers_restored'
  const names = ({ sql }: Database) =>
    sql.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' ORDER BY name").pluck().all()

  test('are looked at when the database is opened: missing, changed and foreign ones are put right, and told', async () => {
    const file = temporaryFile()
    const first = open(file)
    await append(createStore(first), 'a')
    const wanted = names(first)
    first.sql.exec(`
      DROP TRIGGER audit_anchor_is_one;
      DROP TRIGGER audit_keeps_rows;
      CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit WHEN 0 BEGIN SELECT 1; END;
      CREATE TRIGGER "hush ""hush" BEFORE INSERT ON audit BEGIN SELECT raise(IGNORE); END`)
    await first.close()

    const told: unknown[] = []
    const log = { ...silent, error: (fields: object, message: string) => told.push(fields, message) }
    const found = { missing: ['audit_anchor_is_one'], changed: ['audit_keeps_rows'], foreign: ['hush "hush'] }
    const second = open(file, { log })
    expect(told).toEqual([found, expect.stringContaining('audit verify')])
    expect(names(second)).toEqual(wanted)
    const store = createStore(second)
    const { items } = await store.read((tx) => tx.auditRows({}, 'newest', undefined, 9))
    expect(items).toMatchObject([{ seq: 2, kind: KIND, actor: 'bridge', detail: found }, { seq: 1 }])
    expect(await store.verifyAudit()).toMatchObject({ whole: true, rows: 2 })
    await store.close()

    const third = opened(file, { log })
    expect(told).toHaveLength(2)
    expect(names(third)).toEqual(wanted)
  })
})

test('the hash of a row is what it was in the first version', () => {
  const row = { seq: 7, at: 1, actor: 'änn', kind: 'a.b', node_id: null, outcome: 'o', detail: '{"k":"ü"}' }
  expect(chainHash(new Uint8Array(32).fill(9), row).toString('hex')).toBe(
    '1265a6610e9588028941cf2b292f696904966670949ed3d45b2dc174edb5b431',
  )
})

test('canonical JSON does not depend on the order of keys, at any depth', () => {
  expect(canonicalJson({ b: [{ d: 1, c: 2 }], a: null })).toBe('{"a":null,"b":[{"c":2,"d":1}]}')
  // Numbers as keys too: JSON.stringify alone would put them first, by their value.
  expect(canonicalJson({ b: 1, 10: 2, 9: 3 })).toBe('{"10":2,"9":3,"b":1}')
})
