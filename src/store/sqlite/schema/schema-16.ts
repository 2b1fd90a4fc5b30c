/**
 * Rows that go by age get old by the running clock: each has the running time of its birth. What was there counts as
 * born now (`running_since`), so that a wall clock that leapt takes nothing early. Sessions and wills of MQTT have
 * running times in place of wall times; their age is kept, up to a day. Landed versions never change: see
 * `migrations.ts`.
 */
const TABLES = ['invocations', 'audit', 'audit_activity', 'audit_attempts', 'presence_history']
const RUNNING = `(SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'running_since')`
const WALL = `CAST(unixepoch('subsec') * 1000 AS INTEGER)`
const since = (column: string) => `${RUNNING} - max(0, min(${WALL} - ${column}, 86400000))`

export const SCHEMA_BORN = `
INSERT OR REPLACE INTO meta (key, value)
  SELECT 'running_since', coalesce((SELECT value FROM meta WHERE key = 'running_ms'), '0');
${TABLES.map((table) => `ALTER TABLE ${table} ADD COLUMN running INTEGER;`).join('\n')}
UPDATE mqtt_sessions SET used_at = ${since('used_at')}, left_at = ${since('left_at')};
UPDATE mqtt_wills SET due_at = ${RUNNING} + max(0, min(due_at - ${WALL}, delay_seconds * 1000))
  WHERE due_at IS NOT NULL;
`
