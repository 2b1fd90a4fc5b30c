/**
 * Adds what a limb says that it can do, how its presence is kept, and what an operator says of both; JSON texts, read
 * with the limb. Landed versions never change: see `migrations.ts`.
 */
export const SCHEMA_DESCRIPTIONS = `
ALTER TABLE nodes ADD COLUMN timeout_seconds INTEGER;
ALTER TABLE nodes ADD COLUMN presence TEXT;
ALTER TABLE nodes ADD COLUMN description TEXT;
ALTER TABLE nodes ADD COLUMN operator_description TEXT;
ALTER TABLE nodes ADD COLUMN operator_settings TEXT;
`
