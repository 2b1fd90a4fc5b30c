import pg from 'pg'

/** Which store the bridges of tests have: SQLite, or the server that vitest.postgres.config.ts has started. */

/** The folder of the server's socket; absent: SQLite. */
export const SERVER_FOLDER = 'LIMB_TEST_POSTGRES'

let schemas = 0

/** The settings of a store of its own: `path` is of SQLite, and the place of files on either. */
export function storeOf(path: string): { path: string; kind?: 'postgres'; url?: string; schema?: string } {
  const folder = process.env[SERVER_FOLDER]
  if (folder === undefined) return { path }
  const url = `postgres://limb@localhost/postgres?host=${folder}`
  return { path, kind: 'postgres', url, schema: `app_${process.pid}_${schemas++}` }
}

export const onPostgres = process.env[SERVER_FOLDER] !== undefined

/** Asks the server as its operator does. */
export async function asOperator(folder: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ host: folder, user: 'limb', database: 'postgres' })
  await client.connect()
  try {
    return (await client.query(text)).rows as Record<string, unknown>[]
  } finally {
    await client.end()
  }
}
