/**
 * The tables, as steps that lead forward only; a landed step never changes. Columns are named as in SQLite, so that both
 * are read alike. All keys are COLLATE "C": lists are in the order of bytes, whatever the database's locale.
 */

const K = 'text COLLATE "C"'

const TABLES = `
CREATE TABLE meta (key ${K} PRIMARY KEY, value text NOT NULL);

-- Raised by each bridge that takes the database; every write first looks whether it is still its own.
CREATE TABLE leader (cell integer PRIMARY KEY, epoch bigint NOT NULL);
INSERT INTO leader VALUES (0, 0);

CREATE TABLE nodes (
  node_id ${K} PRIMARY KEY, display_name text NOT NULL, operator_name text, platform text NOT NULL, firmware text,
  endpoint_url text, registered_from text, invoke text NOT NULL CHECK (invoke IN ('mqtt', 'http')), capabilities text NOT NULL,
  heartbeat_seconds bigint, timeout_seconds bigint, presence text, description text, adapter text,
  operator_description text, operator_settings text, approved_at bigint NOT NULL, approved_by text NOT NULL,
  updated_at bigint NOT NULL);
CREATE TABLE heartbeats (node_id ${K} PRIMARY KEY, at bigint NOT NULL);
CREATE TABLE node_keys (
  node_id ${K} PRIMARY KEY, salt bytea NOT NULL, hash bytea NOT NULL CHECK (length(hash) = 32), next_salt bytea,
  next_hash bytea CHECK (length(next_hash) = 32), current_until bigint,
  CHECK ((next_salt IS NULL) = (next_hash IS NULL)));

-- network: the address, or the network of an IPv6 address; what is counted.
CREATE TABLE requests (
  request_id ${K} PRIMARY KEY, node_id ${K} NOT NULL, kind text NOT NULL CHECK (kind IN ('new', 'replace', 'widen')),
  revision bigint NOT NULL, registration text NOT NULL, salt bytea, hash bytea CHECK (length(hash) = 32), code text,
  address text NOT NULL, requested_at bigint NOT NULL, expires_at bigint NOT NULL, network ${K} NOT NULL,
  CHECK ((salt IS NULL) = (hash IS NULL)));
CREATE INDEX requests_by_node ON requests (node_id);
CREATE INDEX requests_by_network ON requests (network);

CREATE TABLE refused_keys (
  node_id ${K}, hash bytea CHECK (length(hash) = 32), salt bytea NOT NULL, why text NOT NULL, at bigint NOT NULL,
  until bigint NOT NULL, PRIMARY KEY (node_id, hash));
CREATE INDEX refused_keys_by_end ON refused_keys (until);
CREATE TABLE refused_widenings (
  node_id ${K} PRIMARY KEY, fingerprint text NOT NULL, at bigint NOT NULL, until bigint NOT NULL);

CREATE TABLE principals (
  name ${K} PRIMARY KEY, role text NOT NULL, password_hash text NOT NULL, created_at bigint NOT NULL,
  created_by text NOT NULL);
CREATE TABLE principal_addresses (
  name ${K}, address ${K}, used_at bigint NOT NULL, PRIMARY KEY (name, address));
CREATE TABLE tokens (
  token_id ${K} PRIMARY KEY, hash bytea NOT NULL UNIQUE CHECK (length(hash) = 32), name text NOT NULL,
  principal ${K} NOT NULL, role text NOT NULL, created_at bigint NOT NULL, created_by text NOT NULL, expires_at bigint,
  last_used_at bigint, last_address text);
CREATE INDEX tokens_by_principal ON tokens (principal, token_id);
CREATE TABLE policies (
  principal ${K}, node_id ${K}, capability ${K}, level text NOT NULL CHECK (level IN ('free', 'leased', 'gated', 'denied')),
  set_at bigint NOT NULL, set_by text NOT NULL, PRIMARY KEY (principal, node_id, capability));
CREATE INDEX policies_by_node ON policies (node_id, principal, capability);

CREATE TABLE invocations (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, invocation_id ${K} NOT NULL UNIQUE, principal ${K} NOT NULL,
  node_id ${K} NOT NULL, capability text NOT NULL, command text NOT NULL, params_hash text NOT NULL, level text NOT NULL,
  state ${K} NOT NULL, created_at bigint NOT NULL, ended_at bigint, fence bigint, idempotency_key ${K}, fingerprint text,
  decided_by text, reason text, error text, late_at bigint, late_success smallint, running bigint NOT NULL,
  CHECK ((ended_at IS NULL) = (state IN ('queued', 'waiting', 'running'))));
CREATE UNIQUE INDEX invocations_by_key ON invocations (principal, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX invocations_open ON invocations (seq) WHERE ended_at IS NULL;
CREATE INDEX invocations_by_node_id ON invocations (node_id, seq);
CREATE INDEX invocations_by_principal ON invocations (principal, seq);
CREATE INDEX invocations_by_state ON invocations (state, seq);
CREATE TABLE invocation_answers (
  seq bigint PRIMARY KEY REFERENCES invocations (seq) ON DELETE CASCADE, principal ${K} NOT NULL, bytes bigint NOT NULL,
  answer text NOT NULL);
CREATE INDEX invocation_answers_by_principal ON invocation_answers (principal, seq);
CREATE TABLE answer_sums (principal ${K} PRIMARY KEY, bytes bigint NOT NULL);
CREATE FUNCTION answer_is_summed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO answer_sums VALUES (NEW.principal, NEW.bytes)
      ON CONFLICT (principal) DO UPDATE SET bytes = answer_sums.bytes + EXCLUDED.bytes;
    RETURN NEW;
  END IF;
  UPDATE answer_sums SET bytes = bytes - OLD.bytes WHERE principal = OLD.principal;
  DELETE FROM answer_sums WHERE principal = OLD.principal AND bytes <= 0;
  RETURN OLD;
END $$;
CREATE TRIGGER answer_is_summed AFTER INSERT OR DELETE ON invocation_answers
  FOR EACH ROW EXECUTE FUNCTION answer_is_summed();
CREATE TABLE offline_waits (
  invocation_id ${K} PRIMARY KEY REFERENCES invocations (invocation_id) ON DELETE CASCADE, asked text NOT NULL,
  ends_at bigint NOT NULL);

CREATE TABLE presence_history (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, node_id ${K} NOT NULL, at bigint NOT NULL, status text NOT NULL,
  reason text NOT NULL, running bigint NOT NULL);
CREATE INDEX presence_history_by_node ON presence_history (node_id, seq);
`

const AUDIT = `
-- Three chains with one sequence of numbers. Each row's hash covers the row and the hash before it in its chain.
CREATE TABLE audit (
  seq bigint PRIMARY KEY, log text NOT NULL CHECK (log IN ('decisions', 'activity', 'attempts')), at bigint NOT NULL,
  actor ${K} NOT NULL, kind ${K} NOT NULL, node_id ${K}, outcome text NOT NULL, detail text NOT NULL,
  hash bytea NOT NULL CHECK (length(hash) = 32), place bigint NOT NULL, running bigint NOT NULL);
CREATE INDEX audit_by_log ON audit (log, seq);
CREATE INDEX audit_by_node_id ON audit (node_id, seq);
CREATE INDEX audit_by_actor ON audit (actor, seq);
CREATE INDEX audit_by_kind ON audit (kind, seq);
CREATE TABLE audit_anchor (log text PRIMARY KEY, seq bigint NOT NULL, hash bytea NOT NULL CHECK (length(hash) = 32));
INSERT INTO audit_anchor SELECT log, 0, decode(repeat('00', 32), 'hex') FROM unnest(ARRAY['decisions', 'activity', 'attempts']) log;

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND OLD.seq <= (SELECT seq FROM audit_anchor WHERE log = OLD.log) THEN RETURN OLD; END IF;
  RAISE EXCEPTION 'the audit log is append-only; move audit_anchor first';
END $$;
CREATE TRIGGER audit_keeps_rows BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_stays BEFORE TRUNCATE ON audit EXECUTE FUNCTION audit_is_append_only();
CREATE FUNCTION audit_anchor_only_rises() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.log = OLD.log AND NEW.seq >= OLD.seq
    AND EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq AND hash = NEW.hash AND log = NEW.log)
    AND NEW.seq < (SELECT max(seq) FROM audit WHERE log = NEW.log) THEN RETURN NEW; END IF;
  RAISE EXCEPTION 'the anchor is the number and hash of an audit row before the newest, and only rises';
END $$;
CREATE TRIGGER audit_anchor_rises BEFORE INSERT OR UPDATE OR DELETE ON audit_anchor
  FOR EACH ROW EXECUTE FUNCTION audit_anchor_only_rises();
`

const MQTT = `
CREATE TABLE mqtt_sessions (
  client_id ${K} PRIMARY KEY, owner text NOT NULL, used_at bigint NOT NULL, expiry_seconds bigint, left_at bigint);
CREATE INDEX mqtt_sessions_by_use ON mqtt_sessions (used_at);
CREATE TABLE mqtt_subscriptions (
  client_id ${K}, filter ${K}, qos smallint NOT NULL, extra text, PRIMARY KEY (client_id, filter));
CREATE TABLE mqtt_wills (
  client_id ${K} PRIMARY KEY, topic text NOT NULL, payload bytea NOT NULL, qos smallint NOT NULL,
  retain smallint NOT NULL, extra text, delay_seconds bigint NOT NULL, due_at bigint);
CREATE TABLE mqtt_queue (
  sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, client_id ${K} NOT NULL, broker_id text NOT NULL,
  broker_counter bigint NOT NULL, message_id integer, stage text NOT NULL, topic text NOT NULL, payload bytea NOT NULL,
  qos smallint NOT NULL, retain smallint NOT NULL, extra text);
CREATE INDEX mqtt_queue_by_client ON mqtt_queue (client_id, sequence);
CREATE TABLE mqtt_incoming (
  client_id ${K}, message_id integer, topic text NOT NULL, payload bytea NOT NULL, qos smallint NOT NULL,
  retain smallint NOT NULL, extra text, PRIMARY KEY (client_id, message_id));
CREATE TABLE mqtt_retained (
  topic ${K} PRIMARY KEY, payload bytea NOT NULL, qos smallint NOT NULL, extra text);
`

const WEBHOOKS = `
CREATE TABLE webhook_deliveries (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, webhook ${K} NOT NULL, delivery_id text NOT NULL, kind ${K} NOT NULL,
  urgent smallint NOT NULL CHECK (urgent IN (0, 1)), payload text NOT NULL, expires_at bigint NOT NULL,
  attempts bigint NOT NULL);
CREATE INDEX webhook_deliveries_next ON webhook_deliveries (webhook, attempts, urgent DESC, seq);
CREATE INDEX webhook_deliveries_kind ON webhook_deliveries (webhook, kind, seq);
CREATE TABLE webhook_offline (webhook ${K}, node_id ${K}, PRIMARY KEY (webhook, node_id));

-- What lies in files beside a database of SQLite, sealed with a key that is not in here.
CREATE TABLE secrets (name ${K} PRIMARY KEY, sealed bytea NOT NULL);
`

/** The channel is named by `channelOf`. Many at once, as a copy makes, are told in one word. */
const TOLD = `
CREATE FUNCTION keys_are_told() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE channel text := 'limb_' || md5(TG_TABLE_SCHEMA);
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    PERFORM pg_notify(channel, 'keys');
  ELSIF (SELECT count(*) FROM (SELECT 1 FROM changed LIMIT 101) c) > 100 THEN
    PERFORM pg_notify(channel, 'keys');
  ELSE
    PERFORM pg_notify(channel, 'keys ' || node_id) FROM changed;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER keys_are_told_new AFTER INSERT ON node_keys REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION keys_are_told();
CREATE TRIGGER keys_are_told_changed AFTER UPDATE ON node_keys REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION keys_are_told();
CREATE TRIGGER keys_are_told_gone AFTER DELETE ON node_keys REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION keys_are_told();
CREATE TRIGGER keys_are_told_all AFTER TRUNCATE ON node_keys EXECUTE FUNCTION keys_are_told();
`

/** Names who leads, for people. */
const LEADER = 'ALTER TABLE leader ADD COLUMN name text, ADD COLUMN since bigint'

/** Tells of limbs too; of one whose name changes, both names. */
const TOLD_NODES = `
ALTER FUNCTION keys_are_told() RENAME TO rows_are_told;
CREATE OR REPLACE FUNCTION rows_are_told() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  channel text := 'limb_' || md5(TG_TABLE_SCHEMA);
  what text := coalesce(TG_ARGV[0], 'keys');
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    PERFORM pg_notify(channel, what);
  ELSIF (SELECT count(*) FROM (SELECT 1 FROM changed LIMIT 101) c) > 100 THEN
    PERFORM pg_notify(channel, what);
  ELSE
    PERFORM pg_notify(channel, what || ' ' || node_id) FROM changed;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER nodes_are_told_new AFTER INSERT ON nodes REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION rows_are_told('nodes');
CREATE TRIGGER nodes_are_told_changed AFTER UPDATE ON nodes REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION rows_are_told('nodes');
CREATE TRIGGER nodes_are_told_renamed AFTER UPDATE ON nodes REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION rows_are_told('nodes');
CREATE TRIGGER nodes_are_told_gone AFTER DELETE ON nodes REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION rows_are_told('nodes');
CREATE TRIGGER nodes_are_told_all AFTER TRUNCATE ON nodes EXECUTE FUNCTION rows_are_told('nodes');
`

/** Counts deliveries that wait by webhook and kind: all wait for the one writer while it counts ten thousand of each webhook. */
const WEBHOOK_COUNTS = `
CREATE TABLE webhook_counts (webhook ${K}, kind ${K}, n bigint NOT NULL, PRIMARY KEY (webhook, kind));
INSERT INTO webhook_counts SELECT webhook, kind, count(*) FROM webhook_deliveries GROUP BY webhook, kind;
CREATE FUNCTION deliveries_are_counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    DELETE FROM webhook_counts;
  ELSIF TG_OP = 'INSERT' THEN
    INSERT INTO webhook_counts SELECT webhook, kind, count(*) FROM changed GROUP BY webhook, kind
      ON CONFLICT (webhook, kind) DO UPDATE SET n = webhook_counts.n + EXCLUDED.n;
  ELSE
    UPDATE webhook_counts c SET n = c.n - g.n
      FROM (SELECT webhook, kind, count(*) AS n FROM changed GROUP BY webhook, kind) g
      WHERE c.webhook = g.webhook AND c.kind = g.kind;
    DELETE FROM webhook_counts WHERE n <= 0;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER deliveries_are_counted_new AFTER INSERT ON webhook_deliveries REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION deliveries_are_counted();
CREATE TRIGGER deliveries_are_counted_gone AFTER DELETE ON webhook_deliveries REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION deliveries_are_counted();
CREATE TRIGGER deliveries_are_counted_all AFTER TRUNCATE ON webhook_deliveries EXECUTE FUNCTION deliveries_are_counted();
CREATE INDEX webhook_deliveries_end ON webhook_deliveries (webhook, expires_at);
CREATE INDEX webhook_offline_by_node ON webhook_offline (node_id);
`

export const MIGRATIONS: readonly string[] = [
  TABLES + AUDIT + MQTT,
  WEBHOOKS,
  TOLD,
  LEADER,
  TOLD_NODES,
  WEBHOOK_COUNTS,
]

/** The first version that tells of changes of limbs. */
export const TELLS_NODES = 5
