/**
 * The audit log becomes three chains with one sequence of numbers: decisions (the table that was there), activity and
 * attempts, so that each has a retention of its own and none can push another out. `place` counts the rows of one
 * chain; what was written before has none, and its number is its place. Landed versions never change: see
 * `migrations.ts`.
 */
const TABLES = ['audit_activity', 'audit_attempts']

const NEXT = ['audit', ...TABLES]
  .map((table) => `coalesce((SELECT max(seq) FROM ${table}), (SELECT seq FROM ${table}_anchor))`)
  .join(',\n    ')

const noGap = (table: string) => `
CREATE TRIGGER ${table}_has_no_gap BEFORE INSERT ON ${table}
WHEN NEW.seq IS NOT 1 + max(
    ${NEXT})
BEGIN SELECT raise(ABORT, 'the audit log is append-only: a row has the next number'); END;`

const chain = (table: string) => `
CREATE TABLE ${table} (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  kind TEXT NOT NULL,
  node_id TEXT,
  outcome TEXT NOT NULL,
  detail TEXT NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  place INTEGER
) STRICT;
CREATE INDEX ${table}_by_node_id ON ${table} (node_id, seq);
CREATE INDEX ${table}_by_actor ON ${table} (actor, seq);
CREATE INDEX ${table}_by_kind ON ${table} (kind, seq);

CREATE TABLE ${table}_anchor (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  seq INTEGER NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO ${table}_anchor VALUES (1, 0, zeroblob(32));

CREATE TRIGGER ${table}_is_append_only BEFORE UPDATE ON ${table}
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER ${table}_keeps_rows BEFORE DELETE ON ${table}
WHEN OLD.seq > coalesce((SELECT seq FROM ${table}_anchor), 0)
BEGIN SELECT raise(ABORT, 'the audit log is append-only; move ${table}_anchor first'); END;
CREATE TRIGGER ${table}_anchor_is_one BEFORE INSERT ON ${table}_anchor
WHEN EXISTS (SELECT 1 FROM ${table}_anchor)
BEGIN SELECT raise(ABORT, 'the audit log has its anchor'); END;
CREATE TRIGGER ${table}_anchor_only_rises BEFORE UPDATE ON ${table}_anchor
WHEN NEW.id IS NOT OLD.id OR NEW.seq < OLD.seq OR NEW.seq >= (SELECT max(seq) FROM ${table})
  OR NOT EXISTS (SELECT 1 FROM ${table} WHERE seq = NEW.seq AND hash = NEW.hash)
BEGIN SELECT raise(ABORT, 'the anchor is the number and hash of an audit row before the newest, and only rises'); END;
CREATE TRIGGER ${table}_anchor_stays BEFORE DELETE ON ${table}_anchor
BEGIN SELECT raise(ABORT, 'the anchor of the audit log stays'); END;`

export const SCHEMA_AUDIT_CHAINS = `
ALTER TABLE audit ADD COLUMN place INTEGER;
DROP TRIGGER IF EXISTS audit_has_no_gap;
${TABLES.map(chain).join('\n')}
${['audit', ...TABLES].map(noGap).join('\n')}
`
