/**
 * Version 1. STRICT, so that SQLite itself refuses a wrong type; WITHOUT ROWID where the key is the order in
 * which rows are read. Times are integer milliseconds. Landed versions never change: see `migrations.ts`.
 */
export const SCHEMA_1 = `
CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE nodes (
  node_id TEXT PRIMARY KEY,
  display_name TEXT NOT NULL,
  operator_name TEXT,
  platform TEXT NOT NULL,
  firmware TEXT,
  endpoint_url TEXT,
  invoke TEXT NOT NULL CHECK (invoke IN ('mqtt', 'http')),
  capabilities TEXT NOT NULL,
  heartbeat_seconds INTEGER,
  approved_at INTEGER NOT NULL,
  approved_by TEXT NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Apart from nodes, because all of them change every minute and a wide row would be written for each.
CREATE TABLE heartbeats (
  node_id TEXT PRIMARY KEY,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Apart from nodes, so that no listing ever touches a key.
CREATE TABLE node_keys (
  node_id TEXT PRIMARY KEY,
  salt BLOB NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  next_salt BLOB,
  next_hash BLOB CHECK (length(next_hash) = 32),
  current_until INTEGER,
  CHECK ((next_salt IS NULL) = (next_hash IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE requests (
  request_id TEXT PRIMARY KEY,
  node_id TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('new', 'replace', 'widen')),
  revision INTEGER NOT NULL,
  registration TEXT NOT NULL,
  salt BLOB,
  hash BLOB CHECK (length(hash) = 32),
  code TEXT,
  address TEXT NOT NULL,
  requested_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  CHECK ((salt IS NULL) = (hash IS NULL))
) STRICT;
CREATE INDEX requests_by_node ON requests (node_id);
CREATE INDEX requests_by_address ON requests (address);
CREATE INDEX requests_by_expiry ON requests (expires_at);

CREATE TABLE refused_keys (
  node_id TEXT NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  salt BLOB NOT NULL,
  until INTEGER NOT NULL,
  PRIMARY KEY (node_id, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX refused_keys_by_end ON refused_keys (until);

CREATE TABLE refused_widenings (
  node_id TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE principals (
  name TEXT PRIMARY KEY,
  role TEXT NOT NULL CHECK (role IN ('viewer', 'agent', 'operator', 'admin')),
  password_hash TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE policies (
  principal TEXT NOT NULL,
  node_id TEXT NOT NULL,
  capability TEXT NOT NULL,
  level TEXT NOT NULL CHECK (level IN ('free', 'leased', 'gated', 'denied')),
  set_at INTEGER NOT NULL,
  set_by TEXT NOT NULL,
  PRIMARY KEY (principal, node_id, capability)
) STRICT, WITHOUT ROWID;
CREATE INDEX policies_by_node ON policies (node_id, principal, capability);

-- Each row's hash covers the row and the hash before it, so that a change anywhere shows from there on.
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  actor TEXT NOT NULL,
  kind TEXT NOT NULL,
  node_id TEXT,
  outcome TEXT NOT NULL,
  detail TEXT NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX audit_by_node ON audit (node_id, seq);

-- Where the chain begins. Retention first moves the anchor up to the last row that shall go, with that row's
-- hash, and then deletes; rows above the anchor cannot be deleted, and the rest still verifies from it.
CREATE TABLE audit_anchor (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  seq INTEGER NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO audit_anchor VALUES (1, 0, zeroblob(32));

CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
WHEN OLD.seq > (SELECT seq FROM audit_anchor)
BEGIN SELECT raise(ABORT, 'the audit log is append-only; move audit_anchor first'); END;
CREATE TRIGGER audit_has_no_gap BEFORE INSERT ON audit
WHEN NEW.seq IS NOT 1 + max(coalesce((SELECT max(seq) FROM audit), 0), (SELECT seq FROM audit_anchor))
BEGIN SELECT raise(ABORT, 'the audit log is append-only: a row has the next number'); END;
CREATE TRIGGER audit_anchor_only_rises BEFORE UPDATE ON audit_anchor
WHEN NEW.seq < OLD.seq OR NOT EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq AND hash = NEW.hash)
BEGIN SELECT raise(ABORT, 'the anchor is the number and hash of an audit row, and only rises'); END;
CREATE TRIGGER audit_anchor_stays BEFORE DELETE ON audit_anchor
BEGIN SELECT raise(ABORT, 'the anchor of the audit log stays'); END;

CREATE TABLE mqtt_sessions (
  client_id TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX mqtt_sessions_by_owner ON mqtt_sessions (owner);
CREATE INDEX mqtt_sessions_by_use ON mqtt_sessions (used_at);

CREATE TABLE mqtt_subscriptions (
  client_id TEXT NOT NULL,
  filter TEXT NOT NULL,
  qos INTEGER NOT NULL CHECK (qos IN (0, 1, 2)),
  extra TEXT,
  PRIMARY KEY (client_id, filter)
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: a sequence is never used again, also not after the newest row was deleted.
CREATE TABLE mqtt_queue (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  client_id TEXT NOT NULL,
  broker_id TEXT NOT NULL,
  broker_counter INTEGER NOT NULL,
  message_id INTEGER,
  stage TEXT NOT NULL CHECK (stage IN ('publish', 'pubrel')),
  topic TEXT NOT NULL,
  payload BLOB NOT NULL,
  qos INTEGER NOT NULL CHECK (qos IN (0, 1, 2)),
  retain INTEGER NOT NULL CHECK (retain IN (0, 1)),
  extra TEXT
) STRICT;
CREATE INDEX mqtt_queue_by_client ON mqtt_queue (client_id, sequence);

CREATE TABLE mqtt_incoming (
  client_id TEXT NOT NULL,
  message_id INTEGER NOT NULL,
  topic TEXT NOT NULL,
  payload BLOB NOT NULL,
  qos INTEGER NOT NULL CHECK (qos IN (0, 1, 2)),
  retain INTEGER NOT NULL CHECK (retain IN (0, 1)),
  extra TEXT,
  PRIMARY KEY (client_id, message_id)
) STRICT;

CREATE TABLE mqtt_retained (
  topic TEXT PRIMARY KEY,
  payload BLOB NOT NULL,
  qos INTEGER NOT NULL CHECK (qos IN (0, 1, 2)),
  extra TEXT
) STRICT;
`
