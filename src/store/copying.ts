import type { AuditEnd, AuditVerdict } from '../bridge/ports.ts'
import type { SecretStore } from './engine.ts'
import { StoreError } from './errors.ts'

/** Copies everything that one database keeps into another, of whichever engine, while no bridge runs on either. */

export type CopiedValue = string | number | Uint8Array | null
export type CopiedRow = readonly CopiedValue[]

export interface CopiedTable {
  readonly name: string
  /** The columns, as both engines know them. */
  readonly columns: readonly string[]
  /** The columns by which rows are read in order. */
  readonly key: readonly string[]
  /** The column that the engine numbers by itself; no number is given twice. */
  readonly numbered?: string
}

const table = (name: string, key: string, others: string, numbered?: string): CopiedTable => {
  const names = (text: string) => text.split(/,\s*/).filter((each) => each !== '')
  const keys = names(key)
  return { name, columns: [...keys, ...names(others)], key: keys, ...(numbered && { numbered }) }
}

const MESSAGE = 'topic, payload, qos, retain, extra'

/** Every table, in an order in which no row comes before one that it refers to. */
export const COPIED_TABLES: readonly CopiedTable[] = [
  table('meta', 'key', 'value'),
  table(
    'nodes',
    'node_id',
    'display_name, operator_name, platform, firmware, endpoint_url, registered_from, invoke, capabilities, heartbeat_seconds, timeout_seconds, presence, description, adapter, operator_description, operator_settings, approved_at, approved_by, updated_at',
  ),
  table('heartbeats', 'node_id', 'at'),
  table('node_keys', 'node_id', 'salt, hash, next_salt, next_hash, current_until'),
  table(
    'requests',
    'request_id',
    'node_id, kind, revision, registration, salt, hash, code, address, requested_at, expires_at',
  ),
  table('refused_keys', 'node_id, hash', 'salt, why, at, until'),
  table('refused_widenings', 'node_id', 'fingerprint, at, until'),
  table('principals', 'name', 'role, password_hash, created_at, created_by'),
  table('principal_addresses', 'name, address', 'used_at'),
  table(
    'tokens',
    'token_id',
    'hash, name, principal, role, created_at, created_by, expires_at, last_used_at, last_address',
  ),
  table('policies', 'principal, node_id, capability', 'level, set_at, set_by'),
  table(
    'invocations',
    'seq',
    'invocation_id, principal, node_id, capability, command, params_hash, level, state, created_at, ended_at, fence, idempotency_key, fingerprint, decided_by, reason, error, late_at, late_success, running',
    'seq',
  ),
  table('invocation_answers', 'seq', 'principal, bytes, answer'),
  table('offline_waits', 'invocation_id', 'asked, ends_at'),
  table('presence_history', 'seq', 'node_id, at, status, reason, running', 'seq'),
  table('audit', 'seq', 'log, at, actor, kind, node_id, outcome, detail, hash, place, running'),
  table('audit_anchor', 'log', 'seq, hash'),
  table('mqtt_sessions', 'client_id', 'owner, used_at, expiry_seconds, left_at'),
  table('mqtt_subscriptions', 'client_id, filter', 'qos, extra'),
  table('mqtt_wills', 'client_id', `${MESSAGE}, delay_seconds, due_at`),
  table(
    'mqtt_queue',
    'sequence',
    `client_id, broker_id, broker_counter, message_id, stage, ${MESSAGE}`,
    'sequence',
  ),
  table('mqtt_incoming', 'client_id, message_id', MESSAGE),
  table('mqtt_retained', 'topic', 'payload, qos, extra'),
  table(
    'webhook_deliveries',
    'seq',
    'webhook, delivery_id, kind, urgent, payload, expires_at, attempts',
    'seq',
  ),
  table('webhook_offline', 'webhook, node_id', ''),
]

/** The condition for the rows of `meta` that are copied: those keys mean something to one engine alone. */
export const COPIED_META = "key NOT IN ('running_since', 'flushed')"

interface Copied {
  count(table: CopiedTable): Promise<number>
  verify(): Promise<AuditVerdict>
  auditEnds(): Promise<readonly AuditEnd[]>
}

export interface CopySource extends Copied {
  /** The rows in order, some at a time, each with the values of `columns`. */
  pages(table: CopiedTable): AsyncIterable<readonly CopiedRow[]>
  /** The highest number that was ever given; 0: none. */
  highest(table: CopiedTable): Promise<number>
  /** The bridge's own secrets that lie in the database, where they can be read. */
  readonly secrets?: SecretStore
  close(): Promise<void>
}

/** Writes in the one transaction of a copy, and reads what is there. */
export interface CopyWriter extends Copied {
  put(table: CopiedTable, rows: readonly CopiedRow[]): Promise<void>
  /** Gives no number up to this one again. */
  setHighest(table: CopiedTable, number: number): Promise<void>
}

export interface CopyTarget {
  /** Runs the copy in one transaction, which is undone when it rejects. */
  write<T>(work: (writer: CopyWriter) => Promise<T>): Promise<T>
  readonly secrets?: SecretStore
  close(): Promise<void>
}

export interface CopyOutcome {
  /** Rows by table. */
  readonly rows: Readonly<Record<string, number>>
  readonly nodes: number
  readonly audit: AuditVerdict
}

/** Copies everything in one transaction, and compares counts and chains before it ends. @throws StoreError with why not */
export async function copyStore(source: CopySource, target: CopyTarget): Promise<CopyOutcome> {
  const found = await source.verify()
  if (!found.whole)
    throw new StoreError(
      `The audit log of the source is not whole: ${found.problem}. Nothing was copied: a copy could not be told from the original.`,
    )
  return await target.write(async (writer) => {
    for (const each of COPIED_TABLES) await mustBeEmpty(writer, each)
    const rows: Record<string, number> = {}
    for (const each of COPIED_TABLES) rows[each.name] = await copyTable(source, writer, each)
    await compare(source, writer, rows)
    const audit = await writer.verify()
    if (!audit.whole)
      throw new StoreError(`The audit log of the copy is not whole: ${audit.problem}. Nothing was copied.`)
    return { rows, nodes: rows.nodes ?? 0, audit }
  })
}

/** A database of which a bridge was started has `admin` at least, and the row about it in the audit log. */
async function mustBeEmpty(writer: CopyWriter, each: CopiedTable): Promise<void> {
  if (each.name === 'meta' || each.name === 'audit_anchor') return
  const count = await writer.count(each)
  if (count > 0)
    throw new StoreError(
      `The target is not empty: its table ${each.name} has ${count} rows. Nothing was copied; name another file or schema.`,
    )
}

async function copyTable(source: CopySource, writer: CopyWriter, each: CopiedTable): Promise<number> {
  let rows = 0
  for await (const page of source.pages(each)) {
    await writer.put(each, page)
    rows += page.length
  }
  if (each.numbered !== undefined) await writer.setHighest(each, await source.highest(each))
  return rows
}

async function compare(
  source: CopySource,
  writer: CopyWriter,
  rows: Readonly<Record<string, number>>,
): Promise<void> {
  for (const each of COPIED_TABLES) {
    if (each.name === 'meta') continue
    const [there, here] = [await source.count(each), await writer.count(each)]
    if (there !== here || here !== rows[each.name])
      throw new StoreError(
        `The table ${each.name} has ${there} rows, and its copy ${here}. Nothing was copied.`,
      )
  }
  const ends = [await source.auditEnds(), await writer.auditEnds()].map((of) =>
    of.map(({ log, seq, hash, rows: n }) => `${log} ${seq} ${Buffer.from(hash).toString('hex')} ${n}`).join(),
  )
  if (ends[0] !== ends[1])
    throw new StoreError(
      'The audit log of the copy ends otherwise than that of the source. Nothing was copied.',
    )
}
