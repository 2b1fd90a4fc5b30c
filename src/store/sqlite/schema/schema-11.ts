/**
 * The tables of MQTT sessions name a session by its owner and its client id, with a space between them: the same client
 * id of two owners is two sessions. What has no session belongs to nobody and goes. Landed versions never change: see
 * `migrations.ts`.
 *
 * By way of a character that no client id has, so that no key on its way meets an id that looks like one.
 */
const OF_SESSIONS = ['mqtt_subscriptions', 'mqtt_queue', 'mqtt_incoming', 'mqtt_wills']

export const SCHEMA_SESSION_KEYS = `
${OF_SESSIONS.map(
  (table) => `
DELETE FROM ${table} WHERE client_id NOT IN (SELECT client_id FROM mqtt_sessions);
UPDATE ${table} SET client_id = char(1) ||
  (SELECT owner FROM mqtt_sessions AS s WHERE s.client_id = ${table}.client_id) || ' ' || client_id;
UPDATE ${table} SET client_id = substr(client_id, 2);`,
).join('\n')}

UPDATE mqtt_sessions SET client_id = char(1) || owner || ' ' || client_id;
UPDATE mqtt_sessions SET client_id = substr(client_id, 2);
`
