import type { AnswerBounds, InvocationFilter, Order, Page } from '../../../bridge/ports.ts'
import type { InvocationRecord } from '../../../domain/invocations.ts'
import { INVOCATION_COLUMNS, invocationOfRow, invocationValues, MOVING_COLUMNS } from '../../records.ts'
import type { Sql } from '../connection.ts'
import type { WorkSql } from '../writer.ts'
import { windowPage } from './paging.ts'
import { places } from './statements.ts'

/** Answers of one principal that one may push out. */
const MAX_GIVEN_UP = 500
/** Principals of which answers are given up for one. */
const MAX_OWNERS = 8

const COLUMNS = `${INVOCATION_COLUMNS}, running`
const PUT = `INSERT INTO invocations (${COLUMNS}) VALUES (${places(COLUMNS)})
  ON CONFLICT (invocation_id) DO UPDATE SET ${MOVING_COLUMNS.map((name) => `${name} = EXCLUDED.${name}`).join(', ')},
  running = CASE WHEN invocations.ended_at IS NULL THEN EXCLUDED.running ELSE invocations.running END`
/** The oldest go until so many bytes are free. */
const GIVE_UP = `DELETE FROM invocation_answers WHERE seq IN (SELECT seq FROM
  (SELECT seq, bytes, sum(bytes) OVER (ORDER BY seq) AS freed FROM
    (SELECT seq, bytes FROM invocation_answers WHERE principal = $1 ORDER BY seq LIMIT ${MAX_GIVEN_UP}) oldest) w
  WHERE freed - bytes < $2)`

export async function invocation(
  sql: Sql,
  where: string,
  ...values: string[]
): Promise<InvocationRecord | null> {
  const [row] = await sql.all(`SELECT * FROM invocations WHERE ${where}`, ...values)
  return row === undefined ? null : invocationOfRow(row)
}

export function putInvocation(sql: WorkSql, record: InvocationRecord, running: number): void {
  sql.later(PUT, ...invocationValues(record), running)
  if (['queued', 'waiting'].includes(record.state)) return
  sql.later('DELETE FROM offline_waits WHERE invocation_id = $1', record.invocationId)
}

/** Resolves to how many answers were given up, this one included when it finds no room. */
export async function putAnswer(
  sql: WorkSql,
  invocationId: string,
  answer: string,
  bounds: AnswerBounds,
): Promise<number> {
  const [owner] = await sql.all(
    'SELECT seq, principal FROM invocations WHERE invocation_id = $1',
    invocationId,
  )
  if (owner === undefined) return 0
  const [seq, principal] = [Number(owner.seq), String(owner.principal)]
  const bytes = Buffer.byteLength(answer)
  sql.later('DELETE FROM invocation_answers WHERE seq = $1', seq)
  if (bytes > bounds.perPrincipal || bytes > bounds.total) return 1
  const beyond = async () => {
    const sums = await sumsOf(sql, principal)
    return {
      own: sums.own + bytes - bounds.perPrincipal,
      all: sums.all + bytes - bounds.total,
      largest: sums.largest,
    }
  }
  let left = await beyond()
  let gone = left.own > 0 ? await sql.run(GIVE_UP, principal, left.own) : 0
  for (let owners = 0; owners < MAX_OWNERS; owners++) {
    left = await beyond()
    if (left.all <= 0) break
    gone += await sql.run(GIVE_UP, left.largest, left.all)
  }
  left = await beyond()
  if (left.own > 0 || left.all > 0) return gone + 1
  sql.later(
    'INSERT INTO invocation_answers (seq, principal, bytes, answer) VALUES ($1, $2, $3, $4)',
    seq,
    principal,
    bytes,
    answer,
  )
  return gone
}

async function sumsOf(sql: Sql, principal: string) {
  const [row] = await sql.all(
    `SELECT coalesce((SELECT bytes FROM answer_sums WHERE principal = $1), 0) AS own,
      coalesce((SELECT sum(bytes) FROM answer_sums), 0) AS all,
      (SELECT principal FROM answer_sums ORDER BY bytes DESC LIMIT 1) AS largest`,
    principal,
  )
  return { own: Number(row?.own), all: Number(row?.all), largest: String(row?.largest) }
}

export async function answerOf(sql: Sql, invocationId: string): Promise<string | null> {
  const [row] = await sql.all(
    `SELECT answer FROM invocation_answers WHERE seq = (SELECT seq FROM invocations WHERE invocation_id = $1)`,
    invocationId,
  )
  return row === undefined ? null : String(row.answer)
}

/** Answers that are dropped by one statement: none is larger than a mebibyte. */
export const ANSWERS_AT_ONCE = 16
export const DROP_SOME_ANSWERS = `DELETE FROM invocation_answers WHERE seq IN
  (SELECT seq FROM invocation_answers WHERE principal = $1 ORDER BY seq LIMIT ${ANSWERS_AT_ONCE})`

/** Frees the principal's keys, and drops the answers that were kept for them. */
export function forgetKeysOf(sql: WorkSql, principal: string): void {
  const keyed = 'principal = $1 AND idempotency_key IS NOT NULL'
  sql.later(
    `DELETE FROM invocation_answers WHERE seq IN (SELECT seq FROM invocations WHERE ${keyed})`,
    principal,
  )
  sql.later(`UPDATE invocations SET idempotency_key = NULL WHERE ${keyed}`, principal)
}

export async function invocationPage(
  sql: Sql,
  filter: InvocationFilter,
  order: Order,
  after: string | undefined,
  limit: number,
): Promise<Page<InvocationRecord>> {
  const page = await windowPage(sql, {
    table: 'invocations',
    indexed: [
      ['node_id = ', filter.nodeId],
      ['principal = ', filter.principal],
      ['state = ', filter.state],
    ],
    where: [],
    order,
    after,
    limit,
  })
  return { items: page.rows.map((row) => invocationOfRow(row)), next: page.next }
}

/** Deletes at most `limit` rows of each sort that may go. */
export async function pruneInvocations(
  sql: WorkSql,
  { before, keep, keysBefore }: { before: number; keep: number; keysBefore: number },
  limit: number,
): Promise<number> {
  const old =
    'SELECT seq FROM invocations WHERE idempotency_key IS NOT NULL AND ended_at IS NOT NULL AND running < $1 LIMIT $2'
  const answers = await sql.run(`DELETE FROM invocation_answers WHERE seq IN (${old})`, keysBefore, limit)
  await sql.run(`UPDATE invocations SET idempotency_key = NULL WHERE seq IN (${old})`, keysBefore, limit)
  const aged = await sql.run(
    `DELETE FROM invocations WHERE seq IN
      (SELECT seq FROM invocations WHERE ended_at IS NOT NULL AND running < $1 ORDER BY seq LIMIT $2)`,
    before,
    limit,
  )
  const many = await sql.run(
    `DELETE FROM invocations WHERE ended_at IS NOT NULL AND seq IN
      (SELECT seq FROM invocations WHERE seq <= (SELECT max(seq) FROM invocations) - $1 ORDER BY seq LIMIT $2)`,
    keep,
    limit,
  )
  return answers + aged + many
}
