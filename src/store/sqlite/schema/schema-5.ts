/** Holds the tokens of principals. Only hashes are stored. Landed versions never change: see `migrations.ts`. */
export const SCHEMA_TOKENS = `
CREATE TABLE tokens (
  token_id TEXT PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
  name TEXT NOT NULL,
  principal TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('viewer', 'agent', 'operator', 'admin')),
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  expires_at INTEGER,
  last_used_at INTEGER,
  last_address TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_by_principal ON tokens (principal, token_id);
`
