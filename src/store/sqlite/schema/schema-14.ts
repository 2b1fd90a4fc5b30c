/**
 * Invocations with an idempotency key that wait for a limb that is away: what they need to go on after a restart. A row
 * goes with the state that it belongs to, so that nothing that was sent is ever sent again. Landed versions never change:
 * see `migrations.ts`.
 */
export const SCHEMA_OFFLINE_WAITS = `
CREATE TABLE offline_waits (
  invocation_id TEXT PRIMARY KEY,
  asked TEXT NOT NULL,
  ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER offline_wait_ends AFTER UPDATE OF state ON invocations
WHEN OLD.state IN ('queued', 'waiting') AND NEW.state NOT IN ('queued', 'waiting')
BEGIN DELETE FROM offline_waits WHERE invocation_id = NEW.invocation_id; END;
CREATE TRIGGER offline_wait_goes AFTER DELETE ON invocations
BEGIN DELETE FROM offline_waits WHERE invocation_id = OLD.invocation_id; END;
`
