/**
 * Deliveries to webhooks wait here until they are taken or given up, so that a restart loses none; and of each webhook
 * the limbs that it was told of as offline, so that nobody is told twice.
 * Landed versions never change: see `migrations.ts`.
 */
export const SCHEMA_WEBHOOKS = `
CREATE TABLE webhook_deliveries (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  webhook TEXT NOT NULL,
  delivery_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  urgent INTEGER NOT NULL CHECK (urgent IN (0, 1)),
  payload TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL
) STRICT;
CREATE INDEX webhook_deliveries_next ON webhook_deliveries (webhook, attempts, urgent DESC, seq);
CREATE INDEX webhook_deliveries_kind ON webhook_deliveries (webhook, kind, seq);

CREATE TABLE webhook_offline (
  webhook TEXT NOT NULL,
  node_id TEXT NOT NULL,
  PRIMARY KEY (webhook, node_id)
) STRICT, WITHOUT ROWID;
`
