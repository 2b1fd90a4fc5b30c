import { seal, unseal } from '../../kernel/sealing.ts'
import type { SecretStore } from '../engine.ts'
import { StoreError } from '../errors.ts'
import type { PostgresDatabase } from './database.ts'
import { upsert } from './tables/statements.ts'

const PUT = upsert('secrets', 'name, sealed', 'name')

/**
 * Throws when secrets are sealed in the database and there is no secret to open them with: new ones would take their
 * place, and no limb that is invoked over HTTP would know them.
 */
export async function requireUnsealed(database: PostgresDatabase): Promise<void> {
  const rows = await database.read((sql) => sql.all('SELECT name FROM secrets ORDER BY name'))
  if (rows.length === 0) return
  throw new StoreError(
    `Secrets of the bridge are sealed in the database (${rows.map(({ name }) => String(name)).join(', ')}), and ` +
      'store.secretFile is not set. Name the file that they were sealed with.',
  )
}

/** Keeps the few secrets of the bridge itself in the database, sealed under a secret that is not in it. */
export function sealedSecrets(database: PostgresDatabase, secret: string): SecretStore {
  return {
    async read(name) {
      const [row] = await database.read((sql) => sql.all('SELECT sealed FROM secrets WHERE name = $1', name))
      if (row === undefined) return undefined
      const bytes = unseal(secret, name, row.sealed as Uint8Array)
      if (bytes !== undefined) return Buffer.from(bytes).toString('utf8')
      throw new StoreError(
        `The secret "${name}" in the database was sealed with another one than that of store.secretFile. Every machine ` +
          'that serves this database needs the same; put the old one back.',
      )
    },
    async write(name, text) {
      const sealed = seal(secret, name, Buffer.from(text))
      await database.writer.transact(async (sql) => sql.later(PUT, name, sealed))
    },
    async delete(name) {
      await database.writer.transact(async (sql) => sql.later('DELETE FROM secrets WHERE name = $1', name))
    },
  }
}
