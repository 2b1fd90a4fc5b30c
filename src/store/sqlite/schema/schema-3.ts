/**
 * The table of when each limb came and went. Rows are in the order in which the bridge saw them, which is the order
 * of their times unless the wall clock was moved. Landed versions never change: see `migrations.ts`.
 */
export const SCHEMA_HISTORY = `
-- AUTOINCREMENT: a page's cursor never means another row, also not after the newest one was deleted.
CREATE TABLE presence_history (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  node_id TEXT NOT NULL,
  at INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('online', 'offline')),
  reason TEXT NOT NULL
) STRICT;
CREATE INDEX presence_history_by_node ON presence_history (node_id, seq);
`
