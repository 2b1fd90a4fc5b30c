import type Sqlite from 'better-sqlite3'
import type { AnswerBounds } from '../../../bridge/ports.ts'

/** Answers that one may push out: some milliseconds. One that needs more is not kept itself. */
const MAX_GIVEN_UP = 500

/** The bytes of answers that are dropped in one go: some milliseconds. */
const MAX_DROPPED_BYTES = 4_194_304

/**
 * The answers that are kept for idempotency keys. At a bound the oldest of that principal go, at the bound for all the
 * oldest of whoever holds most: the key stays known, so that no command ever runs twice.
 */
export class AnswersTable {
  readonly #owner: Sqlite.Statement<[string]>
  readonly #insert: Sqlite.Statement<[number, string]>
  readonly #insertSize: Sqlite.Statement<[number, string, number]>
  readonly #delete: Sqlite.Statement<[number]>
  readonly #sumOf: Sqlite.Statement<[string]>
  readonly #sum: Sqlite.Statement<[]>
  readonly #largest: Sqlite.Statement<[]>
  readonly #oldest: Sqlite.Statement<[string]>

  constructor(sql: Sqlite.Database) {
    this.#owner = sql.prepare('SELECT seq, principal FROM invocations WHERE invocation_id = ?')
    this.#insert = sql.prepare('INSERT INTO invocation_answers (seq, answer) VALUES (?, ?)')
    this.#insertSize = sql.prepare('INSERT INTO answer_sizes (seq, principal, bytes) VALUES (?, ?, ?)')
    this.#delete = sql.prepare('DELETE FROM invocation_answers WHERE seq = ?')
    this.#sumOf = sql.prepare<[string]>('SELECT bytes FROM answer_sums WHERE principal = ?').pluck()
    this.#sum = sql.prepare<[]>('SELECT total(bytes) FROM answer_sums').pluck()
    this.#largest = sql.prepare<[]>('SELECT principal FROM answer_sums ORDER BY bytes DESC LIMIT 1').pluck()
    this.#oldest = sql
      .prepare<[string]>('SELECT seq FROM answer_sizes WHERE principal = ? ORDER BY seq LIMIT 1')
      .pluck()
  }

  /** Returns how many answers were given up, this one included when it finds no room. */
  put(invocationId: string, answer: string, bounds: AnswerBounds): number {
    const owner = this.#owner.get(invocationId) as { seq: number; principal: string } | undefined
    if (owner === undefined) return 0
    const { seq, principal } = owner
    this.#delete.run(seq)
    const bytes = Buffer.byteLength(answer)
    if (bytes > bounds.perPrincipal || bytes > bounds.total) return 1
    const own = this.#giveUp(
      () => Number(this.#sumOf.get(principal) ?? 0) + bytes <= bounds.perPrincipal,
      () => principal,
    )
    const all = this.#giveUp(
      () => this.bytes() + bytes <= bounds.total,
      () => String(this.#largest.get()),
    )
    const fits = Number(this.#sumOf.get(principal) ?? 0) + bytes <= bounds.perPrincipal
    if (!fits || this.bytes() + bytes > bounds.total) return own + all + 1
    this.#insert.run(seq, answer)
    this.#insertSize.run(seq, principal, bytes)
    return own + all
  }

  /** Drops some answers of a principal, the oldest first. Returns whether there may be more. */
  dropSomeOf(principal: string): boolean {
    const bytesOf = () => Number(this.#sumOf.get(principal) ?? 0)
    const left = Math.max(0, bytesOf() - MAX_DROPPED_BYTES)
    const gone = this.#giveUp(
      () => bytesOf() <= left,
      () => principal,
    )
    return gone > 0 && bytesOf() > 0
  }

  bytes(): number {
    return Number(this.#sum.get())
  }

  #giveUp(fits: () => boolean, whose: () => string): number {
    let gone = 0
    while (gone < MAX_GIVEN_UP && !fits()) {
      const oldest = this.#oldest.get(whose())
      if (oldest === undefined) break
      this.#delete.run(Number(oldest))
      gone++
    }
    return gone
  }
}
