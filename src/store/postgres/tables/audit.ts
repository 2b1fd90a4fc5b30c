import type {
  AuditEnd,
  AuditFilter,
  AuditPair,
  AuditRow,
  AuditVerdict,
  Order,
  Page,
} from '../../../bridge/ports.ts'
import { canonicalJson } from '../../../domain/canonical.ts'
import type { AuditEntry } from '../../../domain/records.ts'
import { AUDIT_LOGS, type AuditLog, auditLogOf } from '../../../protocol/audit-kinds.ts'
import { type ChainLink, chainHash, ORIGIN } from '../../audit-chain.ts'
import { type ChainReader, type LoggedRow, PRUNED, prunedDetail, verification } from '../../audit-verify.ts'
import { auditOfRow } from '../../records.ts'
import type { Sql } from '../connection.ts'
import type { WorkSql } from '../writer.ts'
import { windowPage } from './paging.ts'

/** Rows stay for this much longer than they must, so that a quiet log is not full of prunings. */
const PRUNE_SLACK_MS = 86_400_000
const VERIFY_PAGE = 1000

interface Ends {
  /** The number of the newest row of all. */
  seq: number
  readonly last: Record<AuditLog, { hash: Uint8Array; place: number }>
}

/** The rows of one log that stay. */
export interface LogRetention {
  readonly before: number
  readonly keep: number
}

/** The audit log: three chains of hashes with one sequence of numbers, in one table. */
export class PostgresAudit {
  readonly #running: () => number
  /** The newest rows as this transaction sees them. Nobody else writes; undefined: read them anew. */
  #ends: Ends | undefined

  constructor(running: () => number) {
    this.#running = running
  }

  /** Forgets what was appended: it may be gone again. */
  undone(): void {
    this.#ends = undefined
  }

  append(sql: WorkSql, entry: AuditEntry): Promise<void> {
    return this.#append(sql, auditLogOf(entry.kind), entry)
  }

  async #append(sql: WorkSql, log: AuditLog, entry: AuditEntry): Promise<void> {
    this.#ends ??= await readEnds(sql)
    const ends = this.#ends
    const { at, actor, kind, nodeId, outcome } = entry
    const detail = canonicalJson(entry.detail)
    const row = { seq: ends.seq + 1, at, actor, kind, node_id: nodeId, outcome, detail }
    const last = ends.last[log]
    const hash = chainHash(last.hash, row)
    ends.seq = row.seq
    ends.last[log] = { hash, place: last.place + 1 }
    sql.later(
      `INSERT INTO audit (seq, log, at, actor, kind, node_id, outcome, detail, hash, place, running)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
      ...[row.seq, log, at, actor, kind, nodeId, outcome, detail, hash, last.place + 1, this.#running()],
    )
  }

  async page(
    sql: Sql,
    filter: AuditFilter,
    order: Order,
    after: string | undefined,
    limit: number,
  ): Promise<Page<AuditRow>> {
    const { actor, nodeId, kind, since, until } = filter
    const family = kind?.endsWith('.') === true
    const page = await windowPage(sql, {
      table: 'audit',
      indexed: [
        ['node_id = ', nodeId],
        ['actor = ', actor],
        ['kind = ', family ? undefined : kind],
      ],
      where: [
        ['starts_with(kind, ', family ? kind : undefined],
        ['at >= ', since],
        ['at < ', until],
      ],
      order,
      after,
      limit,
    })
    return { items: page.rows.map((row) => auditOfRow(row)), next: page.next }
  }

  async ends(sql: Sql): Promise<AuditEnd[]> {
    const rows = await sql.all(`SELECT l.log, n.seq, n.hash, n.place - o.place + 1 AS rows
      FROM unnest(ARRAY['decisions', 'activity', 'attempts']) WITH ORDINALITY l(log, n)
      CROSS JOIN LATERAL (SELECT * FROM audit WHERE log = l.log ORDER BY seq DESC LIMIT 1) n
      CROSS JOIN LATERAL (SELECT place FROM audit WHERE log = l.log ORDER BY seq LIMIT 1) o ORDER BY l.n`)
    return rows as unknown as AuditEnd[]
  }

  /** `sql` sees one moment: what is added meanwhile is not looked at. */
  async verify(sql: Sql, known?: AuditPair): Promise<AuditVerdict> {
    const links = async (text: string) =>
      new Map((await sql.all(text)).map((row) => [row.log as AuditLog, row as unknown as ChainLink]))
    const anchors = await links('SELECT log, seq, hash FROM audit_anchor')
    const firsts = await links('SELECT DISTINCT ON (log) log, seq, hash FROM audit ORDER BY log, seq')
    const lasts = await links('SELECT DISTINCT ON (log) log, seq, hash FROM audit ORDER BY log, seq DESC')
    let seq = Math.min(...AUDIT_LOGS.map((log) => anchors.get(log)?.seq ?? 0))
    let rows: LoggedRow[] = []
    const reader: ChainReader = {
      anchor: (log) => anchors.get(log),
      first: (log) => firsts.get(log),
      last: (log) => lasts.get(log),
      rowsAfter: () => rows,
    }
    const pages = verification(reader, known)
    for (;;) {
      rows = (await sql.all(
        'SELECT * FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2',
        seq,
        VERIFY_PAGE,
      )) as unknown as LoggedRow[]
      const step = pages.next()
      if (step.done) return step.value
      seq = rows.at(-1)?.seq ?? seq
    }
  }

  async prune(
    sql: WorkSql,
    retention: Readonly<Record<AuditLog, LogRetention>>,
    limit: number,
    at: number,
  ): Promise<number> {
    let rows = 0
    for (const log of AUDIT_LOGS) rows += await this.#pruneLog(sql, log, retention[log], limit, at)
    return rows
  }

  /** Takes a beginning of the log, which leaves a row that says so. */
  async #pruneLog(
    sql: WorkSql,
    log: AuditLog,
    { before, keep }: LogRetention,
    limit: number,
    at: number,
  ): Promise<number> {
    const page = await sql.all(
      'SELECT seq, hash, place, running FROM audit WHERE log = $1 ORDER BY seq LIMIT $2',
      log,
      limit,
    )
    const [oldest] = page
    if (!oldest) return 0
    this.#ends ??= await readEnds(sql)
    // Not the row that this leaves, whatever is asked for: it would never end.
    const old = Math.min(before, this.#running())
    const beyond = this.#ends.last[log].place - keep
    if (Number(oldest.running) >= old - PRUNE_SLACK_MS && Number(oldest.place) > beyond) return 0
    // The new row counts too.
    const end = page.findIndex((row) => Number(row.running) >= old && Number(row.place) > beyond + 1)
    const gone = end < 0 ? page : page.slice(0, end)
    const edge = gone.at(-1) as unknown as ChainLink | undefined
    if (!edge) return 0
    const detail = prunedDetail(gone.length, edge)
    await this.#append(sql, log, {
      at,
      actor: 'bridge',
      kind: PRUNED,
      nodeId: null,
      outcome: 'pruned',
      detail,
    })
    await sql.run('UPDATE audit_anchor SET seq = $1, hash = $2 WHERE log = $3', edge.seq, edge.hash, log)
    return sql.run('DELETE FROM audit WHERE log = $1 AND seq <= $2', log, edge.seq)
  }
}

async function readEnds(sql: Sql): Promise<Ends> {
  const rows = await sql.all(`SELECT a.log, a.seq AS anchor, a.hash AS anchored, n.seq, n.hash, n.place
    FROM audit_anchor a LEFT JOIN LATERAL (SELECT * FROM audit WHERE log = a.log ORDER BY seq DESC LIMIT 1) n ON true`)
  const last = { decisions: ORIGIN_END, activity: ORIGIN_END, attempts: ORIGIN_END }
  for (const row of rows) {
    const hash = (row.hash ?? row.anchored) as Uint8Array
    last[row.log as AuditLog] = { hash, place: Number(row.place ?? 0) }
  }
  return { seq: Math.max(0, ...rows.map((row) => Number(row.seq ?? row.anchor))), last }
}

const ORIGIN_END = { hash: ORIGIN.hash, place: 0 }
