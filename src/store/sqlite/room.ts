import type Sqlite from 'better-sqlite3'
import type { Clock, MonotonicMs } from '../../kernel/clock.ts'

/**
 * The room that the database has up to `store.maxBytes`. It is the last line of defence behind the bounds of what is
 * kept: at it, messages, answers and what begins an invocation are not stored any more. What ends something, and what
 * operators decide, is stored on, from a reserve beyond it; SQLite itself ends the file behind the reserve.
 */

/** Revocations and denials of years. */
export const RESERVE_BYTES = 64 * 1024 * 1024
/** A look at the file holds for so long, or for so many bytes that were let in since. */
const LOOK_MS = 250
const LOOK_BYTES = 4 * 1024 * 1024

export class Room {
  readonly #clock: Clock
  readonly #pageBytes: number
  readonly #pages: Sqlite.Statement<[]>
  readonly #free: Sqlite.Statement<[]>
  readonly #sql: Sqlite.Database
  #maxBytes = Number.POSITIVE_INFINITY
  #usedBytes = 0
  #lookedAt: MonotonicMs | undefined
  #since = 0

  constructor(sql: Sqlite.Database, clock: Clock, maxBytes: number) {
    this.#sql = sql
    this.#clock = clock
    this.#pageBytes = Number(sql.pragma('page_size', { simple: true }))
    this.#pages = sql.prepare<[]>('PRAGMA page_count').pluck()
    this.#free = sql.prepare<[]>('PRAGMA freelist_count').pluck()
    this.setMaxBytes(maxBytes)
  }

  get maxBytes(): number {
    return this.#maxBytes
  }

  /** Counts the bytes of pages that hold something. */
  usedBytes(): number {
    return (Number(this.#pages.get()) - Number(this.#free.get())) * this.#pageBytes
  }

  setMaxBytes(maxBytes: number): void {
    this.#maxBytes = maxBytes
    this.#lookedAt = undefined
    // A file that is larger already keeps its reserve: it must still let decisions through.
    const present = Number(this.#pages.get()) * this.#pageBytes
    const end = Math.max(maxBytes, present) + RESERVE_BYTES
    this.#sql.pragma(`max_page_count = ${Math.min(MAX_PAGES, Math.ceil(end / this.#pageBytes))}`)
  }

  /** Returns whether so many bytes more stay within the bound. Looks at the file a few times a second only. */
  has(bytes: number): boolean {
    const now = this.#clock.monotonicMs()
    const stale = this.#lookedAt === undefined || now - this.#lookedAt >= LOOK_MS || this.#since >= LOOK_BYTES
    if (stale) {
      this.#usedBytes = this.usedBytes()
      this.#lookedAt = now
      this.#since = 0
    }
    if (this.#usedBytes + this.#since + bytes > this.#maxBytes) return false
    this.#since += bytes
    return true
  }
}

/** SQLite's own highest number. */
const MAX_PAGES = 4_294_967_294
