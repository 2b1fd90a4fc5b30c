import type Sqlite from 'better-sqlite3'

/**
 * Version 6: an invocation may end as cancelled, and a result that came too late leaves when it came and whether it
 * succeeded. SQLite changes no CHECK in place, so both tables are copied. Landed versions never change: see
 * `migrations.ts`.
 */
const SCHEMA_6 = `
CREATE TABLE invocations_6 (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  invocation_id TEXT NOT NULL UNIQUE,
  principal TEXT NOT NULL,
  node_id TEXT NOT NULL,
  capability TEXT NOT NULL,
  command TEXT NOT NULL,
  params_hash TEXT NOT NULL,
  level TEXT NOT NULL CHECK (level IN ('free', 'leased', 'gated', 'denied')),
  state TEXT NOT NULL CHECK (state IN
    ('queued', 'waiting', 'running', 'done', 'failed', 'timeout', 'denied', 'expired', 'interrupted', 'cancelled')),
  created_at INTEGER NOT NULL,
  ended_at INTEGER,
  fence INTEGER,
  idempotency_key TEXT,
  fingerprint TEXT,
  decided_by TEXT,
  reason TEXT,
  error TEXT,
  late_at INTEGER,
  late_success INTEGER CHECK (late_success IN (0, 1)),
  CHECK ((ended_at IS NULL) = (state IN ('queued', 'waiting', 'running'))),
  CHECK ((late_at IS NULL) = (late_success IS NULL)),
  CHECK (late_at IS NULL OR state = 'timeout')
) STRICT;
INSERT INTO invocations_6 SELECT *, NULL, NULL FROM invocations;
-- The number of a row that was deleted is given to no other one.
DELETE FROM sqlite_sequence WHERE name = 'invocations_6';
INSERT INTO sqlite_sequence (name, seq)
  SELECT 'invocations_6', seq FROM sqlite_sequence WHERE name = 'invocations';

-- Before the old rows go: their answers would go with them.
CREATE TABLE invocation_answers_6 (
  seq INTEGER PRIMARY KEY REFERENCES invocations_6 (seq) ON DELETE CASCADE,
  answer TEXT NOT NULL
) STRICT;
INSERT INTO invocation_answers_6 SELECT * FROM invocation_answers;

DROP TABLE invocation_answers;
DROP TABLE invocations;
ALTER TABLE invocations_6 RENAME TO invocations;
ALTER TABLE invocation_answers_6 RENAME TO invocation_answers;
CREATE UNIQUE INDEX invocations_by_key ON invocations (principal, idempotency_key)
  WHERE idempotency_key IS NOT NULL;
CREATE INDEX invocations_open ON invocations (seq) WHERE ended_at IS NULL;
`

export function toSchema6(sql: Sqlite.Database): void {
  sql.exec(SCHEMA_6)
}
