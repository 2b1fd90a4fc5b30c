import { messageOf } from '../../kernel/errors.ts'
import { PostgresConnection, type PostgresServerOptions } from './connection.ts'
import { cannotLead } from './errors.ts'
import { holderOf } from './lock.ts'
import { MIGRATIONS } from './schema.ts'

/** Looks at a server and the bridge's schema there, beside a running bridge too. Changes nothing. */

export interface ServerInspection {
  /** The version of PostgreSQL, such as `15.14`. */
  readonly version: string
  /** The connection is TLS, such as `TLSv1.3`; undefined: it is not. */
  readonly tls: string | undefined
  /** The version of the bridge's schema; undefined: it is not there yet. */
  readonly schema: number | undefined
  readonly nodes: number
  /** Says who has it, such as `from 10.0.0.7, session 12`; undefined: no bridge. */
  readonly holder: string | undefined
  /** The deliveries that wait, by webhook. */
  readonly waiting: ReadonlyMap<string, { readonly count: number; readonly attempts: number }>
  /** Things that keep the bridge from working there. */
  readonly problems: readonly string[]
  /** Settings of the server that may lose what was acknowledged. */
  readonly warnings: readonly string[]
}

/** Resolves to a sentence when the server cannot even be asked. */
export async function inspectServer(options: PostgresServerOptions): Promise<ServerInspection | string> {
  let connection: PostgresConnection
  try {
    connection = await PostgresConnection.open(options)
  } catch (error) {
    return messageOf(cannotLead(error))
  }
  try {
    return await look(connection, options.schema)
  } catch (error) {
    return messageOf(cannotLead(error))
  } finally {
    await connection.close()
  }
}

const SETTINGS = `SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
  current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS follows, current_setting('fsync') AS fsync,
  current_setting('full_page_writes') AS pages, current_setting('synchronous_commit') AS commits,
  (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl) AS tls,
  has_database_privilege(current_database(), 'CREATE') AS may_create,
  (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = $1) AS owns,
  to_regclass($1 || '.schema_version') IS NOT NULL AS there`

async function look(connection: PostgresConnection, schema: string): Promise<ServerInspection> {
  const [found = {}] = await connection.all(SETTINGS, schema)
  const problems: string[] = []
  if (Number(found.number) < 140_000)
    problems.push(`it is version ${found.version}; the bridge needs 14 or newer`)
  if (found.encoding !== 'UTF8')
    problems.push(`the database has the encoding ${found.encoding}; it must be UTF8`)
  if (found.follows === true)
    problems.push('it is a standby, which only reads; store.url must lead to the primary')
  if (found.owns === false)
    problems.push(`the schema ${schema} belongs to another user; the bridge must own it`)
  if (found.owns === null && found.may_create !== true)
    problems.push(
      `the user may not make the schema ${schema}: GRANT CREATE ON DATABASE, or make it for the user`,
    )
  const rows = found.there === true ? await kept(connection) : undefined
  if (rows && rows.schema > MIGRATIONS.length)
    problems.push(`the schema ${schema} is of a newer bridge (${rows.schema}; known: ${MIGRATIONS.length})`)
  return {
    version: String(found.version),
    tls: typeof found.tls === 'string' ? found.tls : undefined,
    schema: rows?.schema,
    nodes: rows?.nodes ?? 0,
    holder: await holderOf(connection, schema),
    waiting: rows?.waiting ?? new Map(),
    problems,
    warnings: (['fsync', 'full_page_writes', 'synchronous_commit'] as const)
      .filter((_, i) => [found.fsync, found.pages, found.commits][i] === 'off')
      .map((name) => `${name} is off: a crash of the server can lose what the bridge has acknowledged`),
  }
}

async function kept(connection: PostgresConnection) {
  const [version] = await connection.all('SELECT version FROM schema_version')
  const [nodes] = await connection.all('SELECT count(*) AS n FROM nodes')
  const [webhooks] = await connection.all("SELECT to_regclass('webhook_deliveries') IS NOT NULL AS there")
  const rows =
    webhooks?.there === true
      ? await connection.all(
          'SELECT webhook, count(*) AS count, max(attempts) AS attempts FROM webhook_deliveries GROUP BY webhook',
        )
      : []
  return {
    schema: Number(version?.version ?? 0),
    nodes: Number(nodes?.n),
    waiting: new Map(
      rows.map((row) => [String(row.webhook), { count: Number(row.count), attempts: Number(row.attempts) }]),
    ),
  }
}
