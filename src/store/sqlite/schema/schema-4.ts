import type Sqlite from 'better-sqlite3'
import type { ChainLink } from '../../audit-chain.ts'
import { AuditChain } from '../tables/audit-chain.ts'

/**
 * Version 4: the anchor of the audit log is one row for ever, and never reaches the newest row, so that the log
 * cannot be emptied by two statements. Landed versions never change: see `migrations.ts`.
 */
const SCHEMA_4 = `
-- REPLACE would delete the old anchor without a DELETE trigger.
CREATE TRIGGER audit_anchor_is_one BEFORE INSERT ON audit_anchor
WHEN EXISTS (SELECT 1 FROM audit_anchor)
BEGIN SELECT raise(ABORT, 'the audit log has its anchor'); END;

DROP TRIGGER audit_anchor_only_rises;
CREATE TRIGGER audit_anchor_only_rises BEFORE UPDATE ON audit_anchor
WHEN NEW.id IS NOT OLD.id OR NEW.seq < OLD.seq OR NEW.seq >= (SELECT max(seq) FROM audit)
  OR NOT EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq AND hash = NEW.hash)
BEGIN SELECT raise(ABORT, 'the anchor is the number and hash of an audit row before the newest, and only rises'); END;

DROP TRIGGER audit_keeps_rows;
CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
WHEN OLD.seq > coalesce((SELECT seq FROM audit_anchor), 0)
BEGIN SELECT raise(ABORT, 'the audit log is append-only; move audit_anchor first'); END;
`

export function toSchema4(sql: Sqlite.Database): void {
  vouchForAnchor(sql)
  sql.exec(SCHEMA_4)
}

/** Vouches for the anchor: from now on each pruning leaves a row, but those of before have left none. */
function vouchForAnchor(sql: Sqlite.Database): void {
  const anchor = sql.prepare('SELECT seq, hash FROM audit_anchor WHERE seq > 0').get() as
    | ChainLink
    | undefined
  if (!anchor) return
  const now = sql.prepare("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)").pluck().get()
  new AuditChain(sql, 'audit', 'numbered').vouchFor(anchor, anchor.seq, Number(now))
}
