/**
 * Deliveries that wait are counted by webhook and kind, and those whose time is over are found by an index: with ten
 * thousand of each webhook, a look at all of them for each new one would stop everything. What a webhook was told of a limb
 * goes with the limb.
 * Landed versions never change: see `migrations.ts`.
 */
export const SCHEMA_WEBHOOK_COUNTS = `
CREATE TABLE webhook_counts (
  webhook TEXT NOT NULL,
  kind TEXT NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (webhook, kind)
) STRICT, WITHOUT ROWID;
INSERT INTO webhook_counts SELECT webhook, kind, count(*) FROM webhook_deliveries GROUP BY webhook, kind;

CREATE TRIGGER delivery_is_counted AFTER INSERT ON webhook_deliveries
BEGIN
  INSERT INTO webhook_counts VALUES (NEW.webhook, NEW.kind, 1)
    ON CONFLICT (webhook, kind) DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER delivery_count_falls AFTER DELETE ON webhook_deliveries
BEGIN
  UPDATE webhook_counts SET n = n - 1 WHERE webhook = OLD.webhook AND kind = OLD.kind;
  DELETE FROM webhook_counts WHERE webhook = OLD.webhook AND kind = OLD.kind AND n <= 0;
END;
CREATE INDEX webhook_deliveries_end ON webhook_deliveries (webhook, expires_at);

DELETE FROM webhook_offline WHERE node_id NOT IN (SELECT node_id FROM nodes);
CREATE INDEX webhook_offline_by_node ON webhook_offline (node_id);
CREATE TRIGGER limb_is_nobodys_news AFTER DELETE ON nodes
BEGIN
  DELETE FROM webhook_offline WHERE node_id = OLD.node_id;
END;
`
