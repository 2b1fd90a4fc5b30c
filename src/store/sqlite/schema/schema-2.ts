/** Version 2: invocations, and the answers that are kept for those with an idempotency key. Landed versions never change. */
export const SCHEMA_2 = `
-- In the order in which they began; AUTOINCREMENT, so that a page's cursor never means another call.
CREATE TABLE invocations (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  invocation_id TEXT NOT NULL UNIQUE,
  principal TEXT NOT NULL,
  node_id TEXT NOT NULL,
  capability TEXT NOT NULL,
  command TEXT NOT NULL,
  params_hash TEXT NOT NULL,
  level TEXT NOT NULL CHECK (level IN ('free', 'leased', 'gated', 'denied')),
  state TEXT NOT NULL CHECK (state IN
    ('queued', 'waiting', 'running', 'done', 'failed', 'timeout', 'denied', 'expired', 'interrupted')),
  created_at INTEGER NOT NULL,
  ended_at INTEGER,
  fence INTEGER,
  idempotency_key TEXT,
  fingerprint TEXT,
  decided_by TEXT,
  reason TEXT,
  error TEXT,
  CHECK ((ended_at IS NULL) = (state IN ('queued', 'waiting', 'running')))
) STRICT;
CREATE UNIQUE INDEX invocations_by_key ON invocations (principal, idempotency_key)
  WHERE idempotency_key IS NOT NULL;
CREATE INDEX invocations_open ON invocations (seq) WHERE ended_at IS NULL;

CREATE TABLE invocation_answers (
  seq INTEGER PRIMARY KEY REFERENCES invocations (seq) ON DELETE CASCADE,
  answer TEXT NOT NULL
) STRICT;
`
