/**
 * Keeps the address that a limb with an HTTP server registered from last, so that a bridge that starts knows where it may
 * ask such a limb whether it is there. Landed versions never change: see `migrations.ts`.
 */
export const SCHEMA_REGISTERED_FROM = 'ALTER TABLE nodes ADD COLUMN registered_from TEXT;'
