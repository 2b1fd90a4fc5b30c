import type { Pruned, Retention, Store, StoreHealth } from '../../bridge/ports.ts'
import type { NodeRecord } from '../../domain/records.ts'
import { addressOfRow, type NodeRows, policyOfRow, principalOfRow, requestOfRow } from '../records.ts'
import type { Sql } from './connection.ts'
import type { PostgresDatabase } from './database.ts'
import { KeyCache } from './key-cache.ts'
import { NODE_PAGE, pagesOf } from './standby-nodes.ts'
import { PostgresAudit } from './tables/audit.ts'
import { PostgresHistory } from './tables/history.ts'
import { pruneInvocations, putInvocation } from './tables/invocations.ts'
import { upsert } from './tables/statements.ts'
import { PostgresCommitted, PostgresTx, type Shared } from './tx.ts'
import type { WorkSql } from './writer.ts'

export interface PostgresStoreOptions {
  /** The newest refused keys of a node that are kept. */
  readonly maxRefusedKeysPerNode?: number
}

const MAX_REFUSED_KEYS_PER_NODE = 16
/** Rows of one kind deleted in one commit. */
const PRUNE_ROWS = 1000
const MAX_ADDRESSES_PER_NAME = 16
const MAX_ADDRESSES_LOADED = 16_000

/** The Store port on PostgreSQL. */
export function createPostgresStore(database: PostgresDatabase, options: PostgresStoreOptions = {}): Store {
  const { writer } = database
  const running = () => database.running.now()
  const nodes = database.standbyNodes.rows
  const shared: Shared = {
    nodes,
    keys: new KeyCache(nodes),
    audit: new PostgresAudit(running),
    running,
    maxRefusedKeysPerNode: options.maxRefusedKeysPerNode ?? MAX_REFUSED_KEYS_PER_NODE,
  }
  const history = new PostgresHistory(running)
  database.onUndone = () => shared.audit.undone()
  database.onEnded = () => shared.keys.ended()
  database.onTold = (told) => (told === undefined ? shared.keys.forget() : shared.keys.heard(told))
  const write = (run: (sql: WorkSql) => void | Promise<void>) => writer.transact(async (sql) => run(sql))

  return {
    health: (): StoreHealth => writer.health(),
    probe: () => writer.probe(),
    // PostgreSQL vacuums by itself.
    maintain: async () => {},
    read: (work) => database.read((sql) => work(new PostgresCommitted(sql, shared, database.hears()))),
    transact: (work) => writer.transact((sql) => work(new PostgresTx(sql, shared))),
    recordInvocation: (record, entry) =>
      writer.soon(async (sql) => {
        if (record) putInvocation(sql, record, running())
        await shared.audit.append(sql, entry)
      }),
    async settled() {
      await writer.settled()
    },
    loadNodes: () => loadNodes(database, shared.nodes),
    loadRequests: (bounds) => loadRequests(database, bounds),
    async runningMs() {
      const [row] = await database.read((sql) => sql.all("SELECT value FROM meta WHERE key = 'running_ms'"))
      return Number(row?.value ?? 0)
    },
    saveRunningMs: (ms) =>
      write((sql) => {
        sql.later(
          `INSERT INTO meta (key, value) VALUES ('running_ms', $1)
            ON CONFLICT (key) DO UPDATE SET value = greatest(meta.value::bigint, EXCLUDED.value::bigint)::text`,
          String(Math.floor(ms)),
        )
        sql.later(
          upsert('meta', 'key, value', 'key'),
          'steady',
          JSON.stringify(database.running.steady.mark()),
        )
      }),
    saveHeartbeats: (batch) =>
      write((sql) =>
        sql.later(
          // A limb that a batch names twice is one row: ON CONFLICT refuses a row that it has just written.
          `INSERT INTO heartbeats (node_id, at)
            SELECT n.node_id, max(b.at) FROM unnest($1::text[], $2::bigint[]) b(node_id, at)
            JOIN nodes n ON n.node_id = b.node_id GROUP BY n.node_id
            ON CONFLICT (node_id) DO UPDATE SET at = EXCLUDED.at WHERE EXCLUDED.at > heartbeats.at`,
          batch.map(({ nodeId }) => nodeId),
          batch.map(({ at }) => at),
        ),
      ),
    saveTokenUses: (batch) =>
      write((sql) => {
        for (const { tokenId, at, address } of batch)
          sql.later(
            'UPDATE tokens SET last_used_at = $2, last_address = $3 WHERE token_id = $1',
            tokenId,
            at,
            address,
          )
      }),
    verifyAudit: (known) => database.readMoment((sql) => shared.audit.verify(sql, known)),
    auditEnds: () => database.read((sql) => shared.audit.ends(sql)),
    prune: (retention) => prune(database, shared.audit, retention),
    async knownAddresses() {
      const newest = 'SELECT * FROM principal_addresses ORDER BY used_at DESC LIMIT $1'
      const rows = await database.read((sql) =>
        sql.all(`SELECT * FROM (${newest}) newest ORDER BY used_at`, MAX_ADDRESSES_LOADED),
      )
      return rows.map((row) => addressOfRow(row))
    },
    saveKnownAddress: ({ name, address, usedAt }) =>
      writer.soon(async (sql) => {
        // A principal that was removed meanwhile leaves nothing behind.
        sql.later(
          `INSERT INTO principal_addresses (name, address, used_at) SELECT name, $2, $3 FROM principals WHERE name = $1
            ON CONFLICT (name, address) DO UPDATE SET used_at = EXCLUDED.used_at`,
          name,
          address,
          usedAt,
        )
        sql.later(
          `DELETE FROM principal_addresses WHERE name = $1 AND address NOT IN
            (SELECT address FROM principal_addresses WHERE name = $1 ORDER BY used_at DESC LIMIT $2)`,
          name,
          MAX_ADDRESSES_PER_NAME,
        )
      }),
    resumeHistory: (now) => writer.transact((sql) => history.resume(sql, now)),
    saveHistory: (batch) => write((sql) => history.put(sql, batch)),
    history: (nodeId) => database.read((sql) => history.ofNode(sql, nodeId)),
    pruneHistory: (before, maxRows) =>
      writer.transact((sql) => history.prune(sql, before, maxRows, PRUNE_ROWS)),
    close: () => database.close(),
  }
}

async function* loadNodes(
  database: PostgresDatabase,
  nodes: NodeRows,
): AsyncGenerator<readonly NodeRecord[]> {
  await checkRows(database, nodes)
  const held = await database.standbyNodes.take()
  const all: Sql['all'] = (...asked) => database.read((sql) => sql.all(...asked))
  if (held !== undefined) yield* pagesOf(all, nodes, held)
  if (held !== undefined && held.until === undefined) return
  const pageAfter = (name: string) => {
    const page = all(
      // Not a join: PostgreSQL may read all heartbeats for each page of it.
      `SELECT n.*, (SELECT h.at FROM heartbeats h WHERE h.node_id = n.node_id) AS last_heartbeat_at
        FROM nodes n WHERE n.node_id > $1 ORDER BY n.node_id LIMIT $2`,
      name,
      NODE_PAGE,
    )
    // It is asked for before it is needed, and may not be needed then.
    page.catch(() => undefined)
    return page
  }
  let next = pageAfter(held?.until ?? '')
  for (;;) {
    const page = await next
    const last = page.at(-1)
    if (last === undefined) return
    // The server reads it while this one is parsed.
    next = pageAfter(String(last.node_id))
    yield page.map((row) => nodes.record(row))
  }
}

/** Looks once now at what is read one by one later: a bad row stops the start, not a sign-in at night. */
async function checkRows(database: PostgresDatabase, nodes: NodeRows): Promise<void> {
  await database.read(async (sql) => {
    for (const row of await sql.all('SELECT * FROM node_keys WHERE length(salt) = 0 LIMIT 1')) nodes.keys(row)
    for (const row of await sql.all('SELECT * FROM principals')) principalOfRow(row)
    const levels = "('free', 'leased', 'gated', 'denied')"
    for (const row of await sql.all(`SELECT * FROM policies WHERE level NOT IN ${levels} LIMIT 1`))
      policyOfRow(row)
  })
}

/** Loads those that were heard of last, within the bounds; the others are removed. */
async function loadRequests(
  database: PostgresDatabase,
  { now, maxRequests, maxBytes }: Parameters<Store['loadRequests']>[0],
) {
  const rows = await database.read((sql) =>
    sql.all(
      `SELECT request_id, expires_at, octet_length(registration) AS bytes FROM requests ORDER BY expires_at DESC, request_id`,
    ),
  )
  const kept: string[] = []
  const beyond: string[] = []
  let bytes = 0
  for (const row of rows) {
    const fits =
      Number(row.expires_at) > now && kept.length < maxRequests && bytes + Number(row.bytes) <= maxBytes
    if (fits) bytes += Number(row.bytes)
    ;(fits ? kept : beyond).push(String(row.request_id))
  }
  if (beyond.length > 0) {
    // When it cannot be stored they stay until the next start, and are not loaded then either.
    const gone = (sql: WorkSql) => sql.run('DELETE FROM requests WHERE request_id = ANY($1)', beyond)
    await database.writer.transact(gone).catch(() => undefined)
  }
  const found = await database.read((sql) =>
    sql.all('SELECT * FROM requests WHERE request_id = ANY($1)', kept),
  )
  const byId = new Map(found.map((row) => [row.request_id, row]))
  const requests = kept.flatMap((id) => (byId.has(id) ? [requestOfRow(byId.get(id))] : []))
  return { requests, ended: beyond.length }
}

async function prune(
  { writer }: PostgresDatabase,
  audit: PostgresAudit,
  retention: Retention,
): Promise<Pruned> {
  const expired = await writer.transact((sql) => expireRefused(sql, retention.running))
  const gone = await writer.transact((sql) => pruneSome(sql, audit, retention))
  return { rows: expired + gone, more: gone > 0 }
}

async function expireRefused(sql: WorkSql, now: number): Promise<number> {
  const keys = '(SELECT node_id, hash FROM refused_keys WHERE until <= $1 LIMIT $2)'
  const widenings = '(SELECT node_id FROM refused_widenings WHERE until <= $1 LIMIT $2)'
  return (
    (await sql.run(`DELETE FROM refused_keys WHERE (node_id, hash) IN ${keys}`, now, PRUNE_ROWS)) +
    (await sql.run(`DELETE FROM refused_widenings WHERE node_id IN ${widenings}`, now, PRUNE_ROWS))
  )
}

async function pruneSome(sql: WorkSql, audit: PostgresAudit, retention: Retention): Promise<number> {
  const { invocationsBefore, maxInvocations, keysBefore, auditBefore, attemptsBefore } = retention
  const logs = {
    decisions: { before: auditBefore, keep: retention.maxAuditRows },
    activity: { before: auditBefore, keep: retention.maxActivityRows },
    attempts: { before: attemptsBefore, keep: retention.maxAttemptRows },
  }
  const ends = { before: invocationsBefore, keep: maxInvocations, keysBefore }
  const invocations = await pruneInvocations(sql, ends, PRUNE_ROWS)
  return invocations + (await audit.prune(sql, logs, PRUNE_ROWS, retention.at))
}
