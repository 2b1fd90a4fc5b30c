import type {
  AnswerBounds,
  AuditFilter,
  AuditRow,
  ClaimAsked,
  ClaimFacts,
  InvocationFilter,
  NameFacts,
  OfflineWait,
  Order,
  Page,
  PolicyFilter,
  ReadTx,
  Tx,
} from '../../bridge/ports.ts'
import type { InvocationRecord } from '../../domain/invocations.ts'
import type {
  AuditEntry,
  NodeKeys,
  NodeRecord,
  PairingRequestRecord,
  PolicyRecord,
  PrincipalRecord,
  RefusedEntry,
  RefusedKey,
  RefusedWidening,
  TokenRecord,
} from '../../domain/records.ts'
import { addressGroup } from '../../kernel/address.ts'
import { pageOf, policyKeyOf } from '../paging.ts'
import {
  invocationOfRow,
  NODE_COLUMNS,
  type NodeRows,
  nodeValues,
  offlineWaitOfRow,
  policyOfRow,
  principalOfRow,
  refusedEntryOfRow,
  refusedKeyOfRow,
  refusedWideningOfRow,
  requestOfRow,
  requestValues,
  tokenOfRow,
} from '../records.ts'
import type { SqlRow } from '../rows.ts'
import type { Sql, Value } from './connection.ts'
import type { KeyCache } from './key-cache.ts'
import { DELETE_SESSIONS_OF } from './mqtt/store.ts'
import type { PostgresAudit } from './tables/audit.ts'
import { claimFacts } from './tables/claims.ts'
import {
  ANSWERS_AT_ONCE,
  answerOf,
  DROP_SOME_ANSWERS,
  forgetKeysOf,
  invocation,
  invocationPage,
  putAnswer,
  putInvocation,
} from './tables/invocations.ts'
import { upsert } from './tables/statements.ts'
import type { WorkSql } from './writer.ts'

/** Holds what the transactions of one store have in common. */
export interface Shared {
  readonly nodes: NodeRows
  readonly audit: PostgresAudit
  /** The time by which rows get old. */
  readonly running: () => number
  /** The newest refused keys of a node that are kept. */
  readonly maxRefusedKeysPerNode: number
  readonly keys: KeyCache
}

const NODE = `SELECT n.*, h.at AS last_heartbeat_at FROM nodes n LEFT JOIN heartbeats h ON h.node_id = n.node_id`
const PUT_NODE = upsert('nodes', NODE_COLUMNS, 'node_id')
const PUT_KEYS = upsert('node_keys', 'node_id, salt, hash, next_salt, next_hash, current_until', 'node_id')
const PUT_REQUEST = upsert(
  'requests',
  'request_id, node_id, kind, revision, registration, salt, hash, code, address, requested_at, expires_at, network',
  'request_id',
)
const PUT_REFUSED_KEY = upsert('refused_keys', 'node_id, hash, salt, why, at, until', 'node_id, hash')
const PUT_WIDENING = upsert('refused_widenings', 'node_id, fingerprint, at, until', 'node_id')
const PUT_PRINCIPAL = upsert('principals', 'name, role, password_hash, created_at, created_by', 'name')
const PUT_POLICY = upsert(
  'policies',
  'principal, node_id, capability, level, set_at, set_by',
  'principal, node_id, capability',
)
const PUT_TOKEN = `INSERT INTO tokens
  (token_id, hash, name, principal, role, created_at, created_by, expires_at, last_used_at, last_address)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
const PUT_WAIT = upsert('offline_waits', 'invocation_id, asked, ends_at', 'invocation_id')
/** One statement, in which each part sees the tables as they were. */
const DELETE_NODE = `WITH
  ${['heartbeats', 'node_keys', 'requests', 'refused_widenings', 'policies', 'presence_history']
    .map((table) => `d_${table} AS (DELETE FROM ${table} WHERE node_id = $1)`)
    .join(',\n  ')}
  DELETE FROM nodes WHERE node_id = $1`
const DELETE_PRINCIPAL = `WITH
  d_policies AS (DELETE FROM policies WHERE principal = $1),
  d_tokens AS (DELETE FROM tokens WHERE principal = $1),
  d_addresses AS (DELETE FROM principal_addresses WHERE name = $1)
  DELETE FROM principals WHERE name = $1`
/** A record that memory kept may be older than what a batch of heartbeats has stored: the later time stays. */
const HEARD = `INSERT INTO heartbeats (node_id, at) SELECT node_id, $2 FROM nodes WHERE node_id = $1
  ON CONFLICT (node_id) DO UPDATE SET at = EXCLUDED.at WHERE EXCLUDED.at > heartbeats.at`

/** The reads of a transaction, or of what is committed. */
export class PostgresReads implements ReadTx {
  protected readonly shared: Shared
  readonly #sql: Sql

  constructor(sql: Sql, shared: Shared) {
    this.#sql = sql
    this.shared = shared
  }

  async node(nodeId: string): Promise<NodeRecord | null> {
    return this.#one(`${NODE} WHERE n.node_id = $1`, [nodeId], (row) => this.shared.nodes.record(row))
  }

  async nodeKeys(nodeId: string): Promise<NodeKeys | null> {
    return this.#one('SELECT * FROM node_keys WHERE node_id = $1', [nodeId], (row) =>
      this.shared.nodes.keys(row),
    )
  }

  async request(requestId: string): Promise<PairingRequestRecord | null> {
    return this.#one('SELECT * FROM requests WHERE request_id = $1', [requestId], (row) => requestOfRow(row))
  }

  async requestsOfNode(nodeId: string): Promise<readonly PairingRequestRecord[]> {
    const text = 'SELECT * FROM requests WHERE node_id = $1 ORDER BY requested_at, request_id'
    return (await this.#sql.all(text, nodeId)).map((row) => requestOfRow(row))
  }

  async refusedKeys(nodeId: string, now: number): Promise<readonly RefusedKey[]> {
    const rows = await this.#sql.all(
      'SELECT * FROM refused_keys WHERE node_id = $1 AND until > $2',
      nodeId,
      now,
    )
    return rows.map((row) => refusedKeyOfRow(row))
  }

  async refusedWidening(nodeId: string, now: number): Promise<RefusedWidening | null> {
    const text = 'SELECT * FROM refused_widenings WHERE node_id = $1 AND until > $2'
    return this.#one(text, [nodeId, now], (row) => refusedWideningOfRow(row))
  }

  async refused(now: number, after: string | undefined, limit: number): Promise<Page<RefusedEntry>> {
    const rows = await this.#sql.all(
      `SELECT * FROM (
        SELECT node_id, why, at, until, node_id || ' ' || encode(hash, 'hex') AS place FROM refused_keys WHERE until > $1
        UNION ALL
        SELECT node_id, 'widening_rejected', at, until, node_id || ' ' FROM refused_widenings WHERE until > $1
      ) refused WHERE place > $2 ORDER BY place LIMIT $3`,
      now,
      after ?? '',
      limit + 1,
    )
    const page = pageOf(rows, limit, (row) => String(row.place))
    return { items: page.items.map((row) => refusedEntryOfRow(row)), next: page.next }
  }

  async principal(name: string): Promise<PrincipalRecord | null> {
    return this.#one('SELECT * FROM principals WHERE name = $1', [name], (row) => principalOfRow(row))
  }

  async principals(after: string | undefined, limit: number): Promise<Page<PrincipalRecord>> {
    const text = 'SELECT * FROM principals WHERE name > $1 ORDER BY name LIMIT $2'
    const rows = await this.#sql.all(text, after ?? '', limit + 1)
    return pageOf(
      rows.map((row) => principalOfRow(row)),
      limit,
      ({ name }) => name,
    )
  }

  countAdmins(max: number): Promise<number> {
    return this.#count("SELECT 1 FROM principals WHERE role = 'admin'", [], max)
  }

  async token(tokenId: string): Promise<TokenRecord | null> {
    return this.#one('SELECT * FROM tokens WHERE token_id = $1', [tokenId], (row) => tokenOfRow(row))
  }

  async tokenByHash(hash: Uint8Array): Promise<TokenRecord | null> {
    return this.#one('SELECT * FROM tokens WHERE hash = $1', [hash], (row) => tokenOfRow(row))
  }

  async tokens(
    principal: string | undefined,
    after: string | undefined,
    limit: number,
  ): Promise<Page<TokenRecord>> {
    const [where, values]: [string, Value[]] =
      principal === undefined ? ['token_id > $2', []] : ['token_id > $2 AND principal = $3', [principal]]
    const text = `SELECT * FROM tokens WHERE ${where} ORDER BY token_id LIMIT $1`
    const rows = await this.#sql.all(text, limit + 1, after ?? '', ...values)
    return pageOf(
      rows.map((row) => tokenOfRow(row)),
      limit,
      ({ tokenId }) => tokenId,
    )
  }

  countTokens(principal: string, max: number): Promise<number> {
    return this.#count('SELECT 1 FROM tokens WHERE principal = $1', [principal], max)
  }

  async policiesAt(principal: string, nodeId: string, capability: string): Promise<readonly PolicyRecord[]> {
    const text = "SELECT * FROM policies WHERE principal = $1 AND node_id = $2 AND capability IN ($3, '*')"
    return (await this.#sql.all(text, principal, nodeId, capability)).map((row) => policyOfRow(row))
  }

  /** @throws Refusal `invalid_request` for an `after` that no page gave. */
  async policies(
    filter: PolicyFilter,
    after: string | undefined,
    limit: number,
  ): Promise<Page<PolicyRecord>> {
    const values: Value[] = [limit + 1, ...(after === undefined ? ['', '', ''] : policyKeyOf(after))]
    const equal = (column: string, value: string | undefined) =>
      value === undefined ? '' : ` AND ${column} = $${values.push(value)}`
    const where = equal('principal', filter.principal) + equal('node_id', filter.nodeId)
    const rows = await this.#sql.all(
      `SELECT * FROM policies WHERE (principal, node_id, capability) > ($2, $3, $4)${where}
        ORDER BY principal, node_id, capability LIMIT $1`,
      ...values,
    )
    const key = (policy: PolicyRecord) => `${policy.principal}/${policy.nodeId}/${policy.capability}`
    return pageOf(
      rows.map((row) => policyOfRow(row)),
      limit,
      key,
    )
  }

  auditRows(
    filter: AuditFilter,
    order: Order,
    after: string | undefined,
    limit: number,
  ): Promise<Page<AuditRow>> {
    return this.shared.audit.page(this.#sql, filter, order, after, limit)
  }

  invocation(invocationId: string): Promise<InvocationRecord | null> {
    return invocation(this.#sql, 'invocation_id = $1', invocationId)
  }

  async invocationBornAt(invocationId: string): Promise<number | null> {
    const text = 'SELECT running FROM invocations WHERE invocation_id = $1'
    return this.#one(text, [invocationId], (row) => Number(row.running))
  }

  invocationByKey(principal: string, idempotencyKey: string): Promise<InvocationRecord | null> {
    return invocation(this.#sql, 'principal = $1 AND idempotency_key = $2', principal, idempotencyKey)
  }

  answer(invocationId: string): Promise<string | null> {
    return answerOf(this.#sql, invocationId)
  }

  countKeys(principal: string, max: number): Promise<number> {
    const text = 'SELECT 1 FROM invocations WHERE principal = $1 AND idempotency_key IS NOT NULL'
    return this.#count(text, [principal], max)
  }

  async offlineWaits(invocationIds: readonly string[]): Promise<readonly OfflineWait[]> {
    const text = 'SELECT * FROM offline_waits WHERE invocation_id = ANY($1)'
    return (await this.#sql.all(text, invocationIds)).map((row) => offlineWaitOfRow(row))
  }

  async openInvocations(limit: number): Promise<readonly InvocationRecord[]> {
    const text = 'SELECT * FROM invocations WHERE ended_at IS NULL ORDER BY seq LIMIT $1'
    return (await this.#sql.all(text, limit)).map((row) => invocationOfRow(row))
  }

  invocations(
    filter: InvocationFilter,
    order: Order,
    after: string | undefined,
    limit: number,
  ): Promise<Page<InvocationRecord>> {
    return invocationPage(this.#sql, filter, order, after, limit)
  }

  async #one<T>(text: string, values: readonly Value[], read: (row: SqlRow) => T): Promise<T | null> {
    const [row] = await this.#sql.all(text, ...values)
    return row === undefined ? null : read(row)
  }

  async #count(text: string, values: readonly Value[], max: number): Promise<number> {
    const limited = `SELECT count(*) AS n FROM (${text} LIMIT $${values.length + 1}) counted`
    const [row] = await this.#sql.all(limited, ...values, max + 1)
    return Number(row?.n)
  }
}

/** Reads of what is committed: keys are looked up in the cache first. */
export class PostgresCommitted extends PostgresReads {
  readonly #sql: Sql
  readonly #hears: boolean

  constructor(sql: Sql, shared: Shared, hears: boolean) {
    super(sql, shared)
    this.#sql = sql
    this.#hears = hears
  }

  override nodeKeys(nodeId: string): Promise<NodeKeys | null> {
    return this.shared.keys.get(this.#sql, nodeId, this.#hears)
  }
}

/** A transaction. Writes of which nobody asks what became of them are sent at once and not awaited. */
export class PostgresTx extends PostgresReads implements Tx {
  readonly #sql: WorkSql

  constructor(sql: WorkSql, shared: Shared) {
    super(sql, shared)
    this.#sql = sql
  }

  claimFacts(asked: ClaimAsked): Promise<ClaimFacts> {
    return claimFacts(this.#sql, this.shared.nodes, asked)
  }

  async putNode(node: NodeRecord): Promise<void> {
    this.#sql.later(PUT_NODE, ...nodeValues(node))
    if (node.lastHeartbeatAt !== null) this.#sql.later(HEARD, node.nodeId, node.lastHeartbeatAt)
  }

  async putNodeKeys(nodeId: string, { current, next, currentUntil }: NodeKeys): Promise<void> {
    const { salt, hash } = current
    this.shared.keys.changing(nodeId)
    this.#sql.later(PUT_KEYS, nodeId, salt, hash, next?.salt ?? null, next?.hash ?? null, currentUntil)
  }

  async nameFacts(names: readonly string[]): Promise<NameFacts> {
    const sql = this.#sql
    const [nodes, principals, requests] = await Promise.all([
      sql.all('SELECT node_id FROM nodes WHERE node_id = ANY($1)', names),
      sql.all('SELECT name FROM principals WHERE name = ANY($1)', names),
      sql.all('SELECT * FROM requests WHERE node_id = ANY($1) ORDER BY requested_at, request_id', names),
    ])
    return {
      nodes: new Set(nodes.map((row) => String(row.node_id))),
      principals: new Set(principals.map((row) => String(row.name))),
      requests: Map.groupBy(
        requests.map((row) => requestOfRow(row)),
        ({ nodeId }) => nodeId,
      ),
    }
  }

  async deleteNode(nodeId: string): Promise<void> {
    this.shared.keys.changing(nodeId)
    this.#sql.later(DELETE_NODE, nodeId)
  }

  async putRequest(request: PairingRequestRecord): Promise<void> {
    this.#sql.later(PUT_REQUEST, ...requestValues(request), addressGroup(request.address))
  }

  async deleteRequest(requestId: string): Promise<void> {
    this.#sql.later('DELETE FROM requests WHERE request_id = $1', requestId)
  }

  async putRefusedKey({ nodeId, key, why, at, until }: RefusedKey): Promise<void> {
    this.#sql.later(PUT_REFUSED_KEY, nodeId, key.hash, key.salt, why, at, until)
    this.#sql.later(
      `DELETE FROM refused_keys WHERE node_id = $1 AND hash NOT IN
        (SELECT hash FROM refused_keys WHERE node_id = $1 ORDER BY until DESC, hash LIMIT $2)`,
      nodeId,
      this.shared.maxRefusedKeysPerNode,
    )
  }

  async putRefusedWidening({ nodeId, fingerprint, at, until }: RefusedWidening): Promise<void> {
    this.#sql.later(PUT_WIDENING, nodeId, fingerprint, at, until)
  }

  async forgive(nodeId: string): Promise<number> {
    const keys = this.#sql.run('DELETE FROM refused_keys WHERE node_id = $1', nodeId)
    const widenings = this.#sql.run('DELETE FROM refused_widenings WHERE node_id = $1', nodeId)
    const [a, b] = await Promise.all([keys, widenings])
    return a + b
  }

  async putPrincipal(principal: PrincipalRecord): Promise<void> {
    const { name, role, passwordHash, createdAt, createdBy } = principal
    this.#sql.later(PUT_PRINCIPAL, name, role, passwordHash, createdAt, createdBy)
  }

  async deletePrincipal(name: string): Promise<void> {
    this.#sql.later(DELETE_PRINCIPAL, name)
    forgetKeysOf(this.#sql, name)
  }

  async forgetSessions(owner: string): Promise<void> {
    this.#sql.later(DELETE_SESSIONS_OF, owner)
  }

  async putToken(token: TokenRecord): Promise<void> {
    const { tokenId, hash, name, principal, role, createdAt, createdBy, expiresAt } = token
    const { lastUsedAt, lastAddress } = token
    const made = [tokenId, hash, name, principal, role, createdAt, createdBy, expiresAt]
    this.#sql.later(PUT_TOKEN, ...made, lastUsedAt, lastAddress)
  }

  async deleteToken(tokenId: string): Promise<void> {
    this.#sql.later('DELETE FROM tokens WHERE token_id = $1', tokenId)
  }

  async putPolicy({ principal, nodeId, capability, level, setAt, setBy }: PolicyRecord): Promise<void> {
    this.#sql.later(PUT_POLICY, principal, nodeId, capability, level, setAt, setBy)
  }

  async deletePolicy(principal: string, nodeId: string, capability: string): Promise<boolean> {
    const text = 'DELETE FROM policies WHERE principal = $1 AND node_id = $2 AND capability = $3'
    return (await this.#sql.run(text, principal, nodeId, capability)) > 0
  }

  audit(entry: AuditEntry): Promise<void> {
    return this.shared.audit.append(this.#sql, entry)
  }

  async auditAll(entries: readonly AuditEntry[]): Promise<void> {
    for (const entry of entries) await this.audit(entry)
  }

  async nextFence(): Promise<number> {
    const [row] = await this.#sql.all(`INSERT INTO meta (key, value) VALUES ('fence', '1')
      ON CONFLICT (key) DO UPDATE SET value = (meta.value::bigint + 1)::text RETURNING value::bigint AS fence`)
    return Number(row?.fence)
  }

  async putInvocation(record: InvocationRecord): Promise<void> {
    putInvocation(this.#sql, record, this.shared.running())
  }

  putAnswer(invocationId: string, answer: string, bounds: AnswerBounds): Promise<number> {
    return putAnswer(this.#sql, invocationId, answer, bounds)
  }

  async dropAnswersOf(principal: string): Promise<boolean> {
    return (await this.#sql.run(DROP_SOME_ANSWERS, principal)) === ANSWERS_AT_ONCE
  }

  async forgetKeys(principal: string): Promise<void> {
    forgetKeysOf(this.#sql, principal)
  }

  async putOfflineWait({ invocationId, asked, endsAt }: OfflineWait): Promise<void> {
    this.#sql.later(PUT_WAIT, invocationId, asked, Math.round(endsAt))
  }
}
