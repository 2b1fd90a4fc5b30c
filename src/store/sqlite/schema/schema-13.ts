/**
 * Answers that are kept for idempotency keys are summed by principal, so that a bound in bytes costs no scan; and the
 * addresses that principals signed in from are kept, so that guesses from elsewhere shut nobody out after a restart.
 * Landed versions never change: see `migrations.ts`.
 */
export const SCHEMA_SUMS = `
CREATE TABLE answer_sizes (
  seq INTEGER PRIMARY KEY REFERENCES invocation_answers (seq) ON DELETE CASCADE,
  principal TEXT NOT NULL,
  bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX answer_sizes_by_principal ON answer_sizes (principal, seq);
INSERT INTO answer_sizes
  SELECT seq, principal, octet_length(answer) FROM invocation_answers JOIN invocations USING (seq);

CREATE TABLE answer_sums (
  principal TEXT PRIMARY KEY,
  bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO answer_sums SELECT principal, sum(bytes) FROM answer_sizes GROUP BY principal;

CREATE TRIGGER answer_is_summed AFTER INSERT ON answer_sizes
BEGIN
  INSERT INTO answer_sums VALUES (NEW.principal, NEW.bytes)
    ON CONFLICT (principal) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER answer_sum_falls AFTER DELETE ON answer_sizes
BEGIN
  UPDATE answer_sums SET bytes = bytes - OLD.bytes WHERE principal = OLD.principal;
  DELETE FROM answer_sums WHERE principal = OLD.principal AND bytes <= 0;
END;

CREATE TABLE principal_addresses (
  name TEXT NOT NULL,
  address TEXT NOT NULL,
  used_at INTEGER NOT NULL,
  PRIMARY KEY (name, address)
) STRICT, WITHOUT ROWID;
`
