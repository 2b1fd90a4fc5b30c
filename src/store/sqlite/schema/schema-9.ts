/**
 * Keeps what MQTT 5 adds to sessions: how long each outlives its connection, and the wills that wait for their delay.
 * Landed versions never change: see `migrations.ts`.
 */
export const SCHEMA_MQTT5 = `
-- NULL: as long as the configuration says.
ALTER TABLE mqtt_sessions ADD COLUMN expiry_seconds INTEGER;
-- When its connection ended; NULL while it is connected, and for sessions without an expiry of their own.
ALTER TABLE mqtt_sessions ADD COLUMN left_at INTEGER;

CREATE TABLE mqtt_wills (
  client_id TEXT PRIMARY KEY,
  topic TEXT NOT NULL,
  payload BLOB NOT NULL,
  qos INTEGER NOT NULL CHECK (qos IN (0, 1, 2)),
  retain INTEGER NOT NULL CHECK (retain IN (0, 1)),
  extra TEXT,
  delay_seconds INTEGER NOT NULL,
  -- When it is to be sent; NULL while its client is connected.
  due_at INTEGER
) STRICT, WITHOUT ROWID;
`
