import type { AuditPair, AuditVerdict } from '../bridge/ports.ts'
import { AUDIT_LOGS, type AuditLog } from '../protocol/audit-kinds.ts'
import { type ChainLink, type ChainRow, chainHash, ORIGIN } from './audit-chain.ts'

/** The kind of the row that each pruning leaves. Without one for it, an anchor that moved was moved by somebody else. */
export const PRUNED = 'audit.pruned'

const PAGE = 1000

/** A row, and the log whose chain it is a link of. */
export interface LoggedRow extends ChainRow {
  readonly log: AuditLog
}

/** The source from which a verification reads. */
export interface ChainReader {
  /** The anchor; undefined when somebody has deleted it. */
  anchor(log: AuditLog): ChainLink | undefined
  first(log: AuditLog): ChainLink | undefined
  last(log: AuditLog): ChainLink | undefined
  /** The rows of all logs after a number, in order; fewer than `limit` when the newest is among them. */
  rowsAfter(seq: number, limit: number): readonly LoggedRow[]
}

/**
 * Recomputes the chains from their anchors on. Every number after the highest anchor is a row of one of them, so that
 * a whole log cannot be missing either. Yields after each page, and other work may run then: rows are added, and
 * retention takes some away.
 */
export function* verification(log: ChainReader, known: AuditPair | undefined): Generator<void, AuditVerdict> {
  const check = new Check(log, known)
  while (check.page()) yield
  return check.verdict()
}

/** The part of one chain that was recomputed. */
interface Progress {
  at: ChainLink
  /** The link up to which the log says of itself that it was pruned. */
  pruned: ChainLink
}

class Check {
  readonly #reader: ChainReader
  readonly #known: AuditPair | undefined
  readonly #chains: Readonly<Record<AuditLog, Progress>>
  /** The newest number that was looked at. */
  #seq: number
  #rows = 0
  #foundKnown = false
  #broken: Pick<AuditVerdict, 'brokenAt' | 'problem'> | undefined

  constructor(reader: ChainReader, known: AuditPair | undefined) {
    this.#reader = reader
    this.#known = known
    const begin = (log: AuditLog): Progress => ({ at: reader.anchor(log) ?? ORIGIN, pruned: ORIGIN })
    this.#chains = {
      decisions: begin('decisions'),
      activity: begin('activity'),
      attempts: begin('attempts'),
    }
    this.#seq = Math.min(...AUDIT_LOGS.map((log) => this.#chains[log].at.seq))
  }

  /** Reads a page, and returns whether another one follows. */
  page(): boolean {
    for (const log of AUDIT_LOGS) {
      const anchor = this.#reader.anchor(log) ?? ORIGIN
      // Retention has taken rows away meanwhile, which is no gap.
      if (anchor.seq > this.#chains[log].at.seq) this.#chains[log].at = anchor
    }
    const highest = Math.max(...AUDIT_LOGS.map((log) => this.#reader.anchor(log)?.seq ?? 0))
    const page = this.#reader.rowsAfter(this.#seq, PAGE)
    for (const row of page) {
      const expected = Math.max(this.#seq, highest) + 1
      if (row.seq > expected) this.#break(expected, `row ${expected} is missing`)
      else this.#row(row)
      if (this.#broken) return false
    }
    if (page.length === PAGE) return true
    // In the same turn as the last page: nothing moves between the two.
    for (const log of AUDIT_LOGS) if (!this.#broken) this.#ends(log, this.#reader.anchor(log))
    if (!this.#broken && this.#known) this.#endsBefore(this.#known)
    return false
  }

  verdict(): AuditVerdict {
    const firsts = AUDIT_LOGS.flatMap((log) => this.#reader.first(log) ?? [])
    const ends = AUDIT_LOGS.flatMap((log) => {
      const last = this.#reader.last(log)
      return last ? [{ log, seq: last.seq, hash: last.hash }] : []
    })
    const newest = ends.find(({ log }) => log === 'decisions')
    return {
      whole: this.#broken === undefined,
      rows: this.#rows,
      ...(firsts.length > 0 && { firstSeq: Math.min(...firsts.map(({ seq }) => seq)) }),
      ...(newest && { lastSeq: newest.seq, lastHash: newest.hash }),
      ends,
      ...(this.#known && !this.#broken ? { known: this.#foundKnown ? 'there' : 'pruned' } : {}),
      ...this.#broken,
    }
  }

  #row(row: LoggedRow): void {
    const chain = this.#chains[row.log]
    // A missing row shows here too: the next one's hash was made with it.
    if (!same(chainHash(chain.at.hash, row), row.hash)) {
      this.#break(row.seq, `row ${row.seq} is not what was written, or one before it is missing`)
    } else if (row.seq === this.#known?.seq && !same(row.hash, this.#known.hash)) {
      this.#break(
        row.seq,
        `row ${row.seq} has another hash than the one you kept: it or one before it was changed`,
      )
    } else {
      if (row.kind === PRUNED) chain.pruned = prunedUpTo(row)
      this.#foundKnown ||= row.seq === this.#known?.seq
      chain.at = row
      this.#seq = row.seq
      this.#rows++
    }
  }

  #ends(log: AuditLog, anchor: ChainLink | undefined): void {
    const { pruned } = this.#chains[log]
    if (anchor === undefined) {
      this.#break(1, `the anchor of the ${log}, where they begin, was deleted`)
    } else if (anchor.seq !== pruned.seq || !same(anchor.hash, pruned.hash)) {
      const from = Math.min(anchor.seq, pruned.seq) + 1
      this.#break(from, `rows from ${from} on are gone, and no ${PRUNED} says that retention took them`)
    } else if (log === 'decisions' && this.#reader.first(log) === undefined) {
      this.#break(anchor.seq + 1, 'the log is empty, and a bridge never leaves it so')
    }
  }

  #endsBefore(known: AuditPair): void {
    if (known.seq > this.#seq) {
      const from = this.#seq + 1
      this.#break(from, `rows from ${from} on are gone: row ${known.seq}, which you kept, is behind the end`)
      return
    }
    const anchor = AUDIT_LOGS.map((log) => this.#reader.anchor(log)).find((each) => each?.seq === known.seq)
    if (anchor && !same(known.hash, anchor.hash)) {
      this.#break(known.seq, `row ${known.seq} had another hash than the one you kept when it was pruned`)
    }
  }

  #break(brokenAt: number, problem: string): void {
    this.#broken = { brokenAt, problem }
  }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

export function prunedDetail(rows: number, edge: ChainLink): Record<string, unknown> {
  return { rows, upTo: edge.seq, hash: Buffer.from(edge.hash).toString('hex') }
}

/** A row that was not made by `prunedDetail` vouches for nothing. */
function prunedUpTo({ detail }: ChainRow): ChainLink {
  try {
    const { upTo, hash } = JSON.parse(detail) as Record<string, unknown>
    return { seq: Number(upTo), hash: Buffer.from(String(hash), 'hex') }
  } catch {
    return { ...ORIGIN, seq: -1 }
  }
}
