import Sqlite from 'better-sqlite3'
import type { Config } from '../../src/host/config/config.ts'

export type StoredRow = Record<string, unknown>

/**
 * Asks the database of a bridge what lies in it, or changes it behind the bridge's back, whichever store it is. A text that
 * begins with SELECT gives rows, any other none.
 */
export async function askStored(store: Config['store'], text: string): Promise<StoredRow[]> {
  if (store.kind === 'postgres') {
    const { default: pg } = await import('pg')
    const url = new URL(store.url ?? '')
    const client = new pg.Client({
      host: url.searchParams.get('host') ?? '',
      user: 'limb',
      database: 'postgres',
    })
    client.on('error', () => undefined)
    await client.connect()
    try {
      await client.query(`SET search_path = "${store.schema}"`)
      const { rows } = await client.query(text)
      return text.startsWith('SELECT') ? rows : []
    } finally {
      await client.end()
    }
  }
  const sql = new Sqlite(store.path)
  try {
    if (text.startsWith('SELECT')) return sql.prepare<[], StoredRow>(text).all()
    sql.exec(text)
    return []
  } finally {
    sql.close()
  }
}
