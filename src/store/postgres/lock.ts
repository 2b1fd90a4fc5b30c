import type { WallMs } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { Epoch, Leader } from '../engine.ts'
import { StoreError } from '../errors.ts'
import type { PostgresConnection } from './connection.ts'

/** The advisory lock that the writing session of the one bridge holds, for as long as it lives. */

/** "limb" in ASCII: with the hash of the schema's name a number that no other program's lock has, with some luck. */
const LOCK_CLASS = 0x6c696d62

/** @throws StoreError when the server follows another one: it gives its own lock to anybody, and takes no write. */
export async function requirePrimary(connection: PostgresConnection): Promise<void> {
  const [row] = await connection.all('SELECT pg_is_in_recovery() AS follows')
  refuseFollower(row?.follows)
}

export function refuseFollower(follows: unknown): void {
  if (follows === true)
    throw new StoreError('The server is a standby, which only reads; store.url must lead to the primary.')
}

export async function takeLock(connection: PostgresConnection, schema: string): Promise<void> {
  const text = `SELECT pg_try_advisory_lock(${LOCK_CLASS}, hashtext($1)) AS taken`
  const [row] = await connection.all(text, schema)
  if (row?.taken === true) return
  throw new Refusal('storage_unavailable', 'another bridge has the database')
}

/** Names the session that has it, such as `from 10.0.0.7, since …`; undefined: nobody has. */
export async function holderOf(connection: PostgresConnection, schema: string): Promise<string | undefined> {
  const [row] = await connection.all(
    `SELECT a.client_addr::text AS address, a.backend_start::text AS since, l.pid
      FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
      WHERE l.locktype = 'advisory' AND l.granted AND l.classid = ${LOCK_CLASS}
        AND l.objid = (hashtext($1)::bigint & 4294967295)::oid
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    schema,
  )
  if (row === undefined) return undefined
  const where = typeof row.address === 'string' ? `from ${row.address}` : 'on the machine of the server'
  return `${where}, session ${row.pid}${typeof row.since === 'string' ? `, since ${row.since}` : ''}`
}

/** Says which bridge has the database, as it wrote into it; undefined: none has. */
export async function leaderOf(connection: PostgresConnection, schema: string): Promise<Leader | undefined> {
  const holder = await holderOf(connection, schema)
  if (holder === undefined) return undefined
  // By way of JSON: a bridge of an older version has no such columns yet, and one that begins no table.
  const [row] = await connection
    .all(
      "SELECT to_jsonb(l) ->> 'name' AS name, (to_jsonb(l) ->> 'since')::bigint AS since FROM leader l WHERE cell = 0",
    )
    .catch(() => [])
  if (typeof row?.name !== 'string') return { name: `a bridge ${holder}`, since: undefined }
  return { name: row.name, since: Number(row.since) as WallMs }
}

export async function epochOf(connection: PostgresConnection): Promise<Epoch> {
  const [row] = await connection.all('SELECT epoch FROM leader WHERE cell = 0')
  return Number(row?.epoch)
}

/** Makes this bridge the one of the newest epoch. To be called with the lock. */
export async function raiseEpoch(
  connection: PostgresConnection,
  name: string,
  since: WallMs,
): Promise<Epoch> {
  const [row] = await connection.all(
    'UPDATE leader SET epoch = epoch + 1, name = $1, since = $2 WHERE cell = 0 RETURNING epoch',
    name,
    since,
  )
  return Number(row?.epoch)
}
