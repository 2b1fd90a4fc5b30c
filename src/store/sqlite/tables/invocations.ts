import type Sqlite from 'better-sqlite3'
import type { AnswerBounds, InvocationFilter, Order, Page, Pruned } from '../../../bridge/ports.ts'
import type { InvocationRecord } from '../../../domain/invocations.ts'
import { INVOCATION_COLUMNS, invocationOfRow, invocationValues, MOVING_COLUMNS } from '../../records.ts'
import { RowReader } from '../../rows.ts'
import { AnswersTable } from './answers.ts'
import { InvocationRetention, type KeptInvocations, type PruneStep } from './invocation-retention.ts'
import { windowPage } from './paging.ts'
import { BORN } from './running.ts'

/** Invocations, under way and ended, and the answers kept for a while. */
export class InvocationsTable {
  readonly #sql: Sqlite.Database
  readonly #running: () => number
  readonly #reader = new RowReader('invocations', ['invocation_id'])
  readonly #get: Sqlite.Statement
  readonly #byKey: Sqlite.Statement
  readonly #born: Sqlite.Statement<[string]>
  readonly #put: Sqlite.Statement
  readonly #answers: AnswersTable
  readonly #answer: Sqlite.Statement
  readonly #countKeys: Sqlite.Statement
  readonly #open: Sqlite.Statement
  readonly #nextFence: Sqlite.Statement<[]>
  readonly #forgetPrincipal: readonly Sqlite.Statement<[string]>[]
  readonly #retention: InvocationRetention

  /** `running`: the time by which rows get old. */
  constructor(sql: Sqlite.Database, running: () => number) {
    this.#sql = sql
    this.#running = running
    this.#get = sql.prepare('SELECT * FROM invocations WHERE invocation_id = ?')
    this.#byKey = sql.prepare('SELECT * FROM invocations WHERE principal = ? AND idempotency_key = ?')
    this.#born = sql.prepare<[string]>(`SELECT ${BORN} FROM invocations WHERE invocation_id = ?`).pluck()
    this.#put =
      sql.prepare(`INSERT INTO invocations (${INVOCATION_COLUMNS}, running) VALUES (${INVOCATION_COLUMNS.replaceAll(/\w+/g, '?')}, ?)
      ON CONFLICT (invocation_id) DO UPDATE SET ${MOVING_COLUMNS.map((name) => `${name} = excluded.${name}`).join(', ')},
      running = CASE WHEN invocations.ended_at IS NULL THEN excluded.running ELSE invocations.running END`)
    this.#answers = new AnswersTable(sql)
    this.#answer = sql.prepare(`SELECT answer FROM invocation_answers
      WHERE seq = (SELECT seq FROM invocations WHERE invocation_id = ?)`)
    this.#countKeys = sql
      .prepare(
        'SELECT count(*) FROM (SELECT 1 FROM invocations WHERE principal = ? AND idempotency_key IS NOT NULL LIMIT ?)',
      )
      .pluck()
    this.#open = sql.prepare('SELECT * FROM invocations WHERE ended_at IS NULL ORDER BY seq LIMIT ?')
    this.#nextFence = sql
      .prepare(`INSERT INTO meta (key, value) VALUES ('fence', '1')
        ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1 RETURNING CAST(value AS INTEGER)`)
      .pluck()
    const keyed = 'principal = ? AND idempotency_key IS NOT NULL'
    this.#forgetPrincipal = [
      sql.prepare(`DELETE FROM invocation_answers WHERE seq IN (SELECT seq FROM invocations WHERE ${keyed})`),
      sql.prepare(`UPDATE invocations SET idempotency_key = NULL WHERE ${keyed}`),
    ]
    this.#retention = new InvocationRetention(sql)
  }

  get(invocationId: string): InvocationRecord | null {
    return this.#recordOrNull(this.#get.get(invocationId))
  }

  byKey(principal: string, key: string): InvocationRecord | null {
    return this.#recordOrNull(this.#byKey.get(principal, key))
  }

  put(record: InvocationRecord): void {
    this.#put.run(...invocationValues(record), this.#running())
  }

  /** Returns the running time at which it ended, or was begun; null when there is none. */
  bornAt(invocationId: string): number | null {
    const born = this.#born.get(invocationId)
    return born === undefined ? null : Number(born)
  }

  /** Keeps an answer within the bounds. Returns how many answers were given up for it, or itself. */
  putAnswer(invocationId: string, answer: string, bounds: AnswerBounds): number {
    return this.#answers.put(invocationId, answer, bounds)
  }

  /** Counts the bytes of all answers that are kept. */
  answerBytes(): number {
    return this.#answers.bytes()
  }

  answer(invocationId: string): string | null {
    const row = this.#answer.get(invocationId) as { answer: string } | undefined
    return row?.answer ?? null
  }

  countKeys(principal: string, max: number): number {
    return Number(this.#countKeys.get(principal, max + 1))
  }

  /** Frees the principal's keys, and drops the answers that were kept for them. */
  forgetKeysOf(principal: string): void {
    for (const statement of this.#forgetPrincipal) statement.run(principal)
  }

  /** Drops some of the answers kept for the principal's keys. Returns whether there may be more. */
  dropAnswersOf(principal: string): boolean {
    return this.#answers.dropSomeOf(principal)
  }

  open(limit: number): InvocationRecord[] {
    return this.#open.all(limit).map((row) => invocationOfRow(row, this.#reader))
  }

  nextFence(): number {
    return Number(this.#nextFence.get())
  }

  page(
    filter: InvocationFilter,
    order: Order,
    after: string | undefined,
    limit: number,
  ): Page<InvocationRecord> {
    const page = windowPage(this.#sql, {
      table: 'invocations',
      indexed: [
        ['node_id', filter.nodeId],
        ['principal', filter.principal],
        ['state', filter.state],
      ],
      where: [],
      order,
      after,
      limit,
    })
    return { items: page.rows.map((row) => invocationOfRow(row, this.#reader)), next: page.next }
  }

  /** Frees keys and deletes rows that may go, as far as one step goes. To be called within one transaction. */
  prune(kept: KeptInvocations, step: PruneStep): Pruned {
    return this.#retention.prune(kept, step)
  }

  /** A step of pruning was undone. */
  pruneAgain(): void {
    this.#retention.lookAgain()
  }

  #recordOrNull(row: unknown): InvocationRecord | null {
    return row === undefined ? null : invocationOfRow(row, this.#reader)
  }
}
