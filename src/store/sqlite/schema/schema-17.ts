/**
 * Keeps what was read of foreign firmware with its limb, as JSON: a bridge that starts knows its topics before the
 * firmware has said them again. Landed versions never change: see `migrations.ts`.
 */
export const SCHEMA_ADAPTERS = 'ALTER TABLE nodes ADD COLUMN adapter TEXT;'
