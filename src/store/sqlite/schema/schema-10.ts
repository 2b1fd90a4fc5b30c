/**
 * Ends are on the running clock, which stands at 0 when this runs; until now they were wall times. What is
 * left of each is kept, but no more than 30 days (of a token, ten years): a clock may have leapt in between. Why
 * something is refused, and
 * since when, stands beside it. Landed versions never change: see `migrations.ts`.
 */
const LEFT = (column: string, days = 30) =>
  `max(0, min(${column} - CAST(unixepoch('subsec') * 1000 AS INTEGER), ${days * 86_400_000}))`

export const SCHEMA_RUNNING = `
INSERT OR REPLACE INTO meta (key, value) VALUES ('running_ms', '0');
UPDATE tokens SET expires_at = ${LEFT('expires_at', 3660)} WHERE expires_at IS NOT NULL;
UPDATE requests SET expires_at = ${LEFT('expires_at')};
UPDATE node_keys SET current_until = ${LEFT('current_until')} WHERE current_until IS NOT NULL;
UPDATE refused_keys SET until = ${LEFT('until')};
UPDATE refused_widenings SET until = ${LEFT('until')};

ALTER TABLE refused_keys ADD COLUMN why TEXT NOT NULL DEFAULT 'rejected'
  CHECK (why IN ('rejected', 'revoked', 'other_approved'));
ALTER TABLE refused_keys ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE refused_widenings ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
`
