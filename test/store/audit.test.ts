import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { AuditEntry } from '../../src/domain/records.ts'
import { canonicalJson } from '../../src/store/audit.ts'
import type { Database } from '../../src/store/database.ts'
import { createStore, type SqliteStore } from '../../src/store/store.ts'
import { open, opened } from './fixture.ts'

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
      expect(await store.verifyAudit()).toEqual({ whole: true, rows: rows.length })
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
      expect(await store.verifyAudit()).toEqual({ whole: false, rows: seq - 1, brokenAt: seq })
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
  expect(await store.verifyAudit()).toEqual({ whole: true, rows: 2 })
})

test('rows cannot be changed, deleted, replaced or put between', async () => {
  const database = opened(':memory:')
  await append(createStore(database), 'a', 'b', 'c')
  const { sql } = database
  expect(() => sql.exec("UPDATE audit SET actor = 'nobody'")).toThrow(/append-only/)
  expect(() => sql.exec('DELETE FROM audit WHERE seq = 3')).toThrow(/append-only/)
  const row = "(2, 1, 'a', 'b', NULL, 'c', '{}', zeroblob(32))"
  expect(() => sql.exec(`INSERT OR REPLACE INTO audit VALUES ${row}`)).toThrow(/append-only/)
  expect(() => sql.exec(`INSERT INTO audit VALUES ${row.replace('2', '9')}`)).toThrow(/append-only/)
})

test('a prefix can go once the anchor has moved up to it, and the rest still verifies', async () => {
  const database = opened(':memory:')
  const store = createStore(database)
  await append(store, 'a', 'b', 'c', 'd')
  const { sql } = database
  expect(() => sql.exec('UPDATE audit_anchor SET seq = 2')).toThrow(/number and hash of an audit row/)
  sql.exec('UPDATE audit_anchor SET (seq, hash) = (SELECT seq, hash FROM audit WHERE seq = 2)')
  sql.exec('DELETE FROM audit WHERE seq <= 2')
  expect(() => sql.exec('DELETE FROM audit WHERE seq = 3')).toThrow(/append-only/)
  expect(() => sql.exec('DELETE FROM audit_anchor')).toThrow(/stays/)
  await append(store, 'e')
  expect(await store.verifyAudit()).toEqual({ whole: true, rows: 3 })
})

test('when all rows are gone, the chain goes on from the anchor', async () => {
  const database = opened(':memory:')
  const store = createStore(database)
  await append(store, 'a', 'b')
  database.sql.exec('UPDATE audit_anchor SET (seq, hash) = (SELECT seq, hash FROM audit WHERE seq = 2)')
  database.sql.exec('DELETE FROM audit')
  await append(store, 'c')
  expect(await store.verifyAudit()).toEqual({ whole: true, rows: 1 })
  expect(database.sql.prepare('SELECT seq FROM audit').pluck().all()).toEqual([3])
})

test('canonical JSON does not depend on the order of keys, at any depth', () => {
  expect(canonicalJson({ b: [{ d: 1, c: 2 }], a: null })).toBe('{"a":null,"b":[{"c":2,"d":1}]}')
})
