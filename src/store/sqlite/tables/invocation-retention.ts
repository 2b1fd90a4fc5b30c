import type Sqlite from 'better-sqlite3'
import type { Pruned } from '../../../bridge/ports.ts'
import { BORN } from './running.ts'

/** The rows of invocations that stay, and the keys of those; the others may go. */
export interface KeptInvocations {
  /** The running time from which on ended invocations stay. */
  readonly before: number
  /** The number of the newest that stay. */
  readonly keep: number
  /** The running time from which on idempotency keys stay, and the answers kept for them. */
  readonly keysBefore: number
}

/** The bounds of one step. */
export interface PruneStep {
  /** Rows of one kind that are changed, and rows that are read at once. */
  readonly limit: number
  /** Shows whether there is time for one more row: an answer may be a megabyte. */
  readonly inTime: () => boolean
}

interface Row {
  readonly seq: number
  readonly born: number
  readonly isOpen: number
  readonly isKeyed: number
}

/** Rows of invocations that go by age or by number, the oldest first; rows get old in the order of their numbers. */
export class InvocationRetention {
  readonly #page: Sqlite.Statement<[number, number]>
  readonly #one: Sqlite.Statement<[number]>
  readonly #newest: Sqlite.Statement<[]>
  readonly #drop: Sqlite.Statement<[number]>
  readonly #dropAnswer: Sqlite.Statement<[number]>
  readonly #forgetKey: Sqlite.Statement<[number]>
  /** The number up to which no ended invocation has a key any more. */
  #freedUpTo = 0
  /** The numbers of those before it that had a key and were open. */
  readonly #openBefore = new Set<number>()

  constructor(sql: Sqlite.Database) {
    const rows = `SELECT seq, ${BORN} AS born, ended_at IS NULL AS isOpen, idempotency_key IS NOT NULL AS isKeyed
      FROM invocations`
    this.#page = sql.prepare(`${rows} WHERE seq > ? ORDER BY seq LIMIT ?`)
    this.#one = sql.prepare(`${rows} WHERE seq = ?`)
    this.#newest = sql.prepare<[]>('SELECT max(seq) FROM invocations').pluck()
    this.#drop = sql.prepare('DELETE FROM invocations WHERE seq = ?')
    this.#dropAnswer = sql.prepare('DELETE FROM invocation_answers WHERE seq = ?')
    this.#forgetKey = sql.prepare('UPDATE invocations SET idempotency_key = NULL WHERE seq = ?')
  }

  /** Takes one step. To be called within one transaction. */
  prune(kept: KeptInvocations, step: PruneStep): Pruned {
    const freed = this.#free(kept, step)
    const dropped = this.#dropBeyond(kept, step)
    return { rows: freed.rows + dropped.rows, more: freed.more || dropped.more }
  }

  /** Forgets how far it was: what a step did is undone. */
  lookAgain(): void {
    this.#freedUpTo = 0
    this.#openBefore.clear()
  }

  #free({ keysBefore }: KeptInvocations, { limit, inTime }: PruneStep): Pruned {
    let rows = this.#freeEnded()
    for (;;) {
      const page = this.#page.all(this.#freedUpTo, limit) as Row[]
      for (const row of page) {
        if (row.born >= keysBefore) return { rows, more: false }
        if (rows > 0 && !inTime()) return { rows, more: true }
        this.#freedUpTo = row.seq
        if (!row.isKeyed) continue
        if (row.isOpen) this.#openBefore.add(row.seq)
        else rows += this.#freeOne(row)
      }
      if (page.length < limit) return { rows, more: false }
      if (!inTime()) return { rows, more: true }
    }
  }

  #freeEnded(): number {
    let rows = 0
    for (const seq of this.#openBefore) {
      const row = this.#one.get(seq) as Row | undefined
      if (row?.isOpen && row.isKeyed) continue
      this.#openBefore.delete(seq)
      if (row?.isKeyed) rows += this.#freeOne(row)
    }
    return rows
  }

  #freeOne({ seq }: Row): number {
    this.#dropAnswer.run(seq)
    return this.#forgetKey.run(seq).changes
  }

  #dropBeyond({ before, keep }: KeptInvocations, { limit, inTime }: PruneStep): Pruned {
    const beyond = Number(this.#newest.get() ?? 0) - keep
    let [after, rows] = [0, 0]
    for (;;) {
      const page = this.#page.all(after, limit) as Row[]
      for (const row of page) {
        if (row.born >= before && row.seq > beyond) return { rows, more: false }
        after = row.seq
        if (row.isOpen) continue
        if (rows >= limit || (rows > 0 && !inTime())) return { rows, more: true }
        rows += this.#drop.run(row.seq).changes
      }
      if (page.length < limit) return { rows, more: false }
    }
  }
}
