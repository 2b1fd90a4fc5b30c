import type { AuditPair, AuditVerdict } from '../../../bridge/ports.ts'
import { type ChainLink, type ChainRow, chainHash, ORIGIN } from '../../audit-chain.ts'

/** The kind of the row that each pruning leaves. Without one for it, an anchor that moved was moved by somebody else. */
export const PRUNED = 'audit.pruned'

const PAGE = 1000

/** The source from which a verification reads. */
export interface ChainReader {
  /** The anchor; undefined when somebody has deleted it. */
  anchor(): ChainLink | undefined
  first(): ChainLink | undefined
  last(): ChainLink | undefined
  /** The rows after a number, in order; fewer than `limit` when the newest is among them. */
  rowsAfter(seq: number, limit: number): readonly ChainRow[]
}

/**
 * Recomputes the chain from the anchor on. Yields after each page, and other work may run then: rows are added, and
 * retention takes some away.
 */
export function* verification(log: ChainReader, known: AuditPair | undefined): Generator<void, AuditVerdict> {
  const check = new Check(log, known)
  while (check.page()) yield
  return check.verdict()
}

class Check {
  readonly #log: ChainReader
  readonly #known: AuditPair | undefined
  #at: ChainLink
  #rows = 0
  /** The link up to which the log says of itself that it was pruned. */
  #pruned: ChainLink = ORIGIN
  #foundKnown = false
  #broken: Pick<AuditVerdict, 'brokenAt' | 'problem'> | null = null

  constructor(log: ChainReader, known: AuditPair | undefined) {
    this.#log = log
    this.#known = known
    this.#at = log.anchor() ?? ORIGIN
  }

  /** Reads a page, and returns whether another one follows. */
  page(): boolean {
    const anchor = this.#log.anchor() ?? ORIGIN
    // Retention has taken rows away meanwhile, which is no gap.
    if (anchor.seq > this.#at.seq) this.#at = anchor
    const page = this.#log.rowsAfter(this.#at.seq, PAGE)
    for (const row of page) {
      this.#row(row)
      if (this.#broken) return false
    }
    if (page.length === PAGE) return true
    // In the same turn as the last page: nothing moves between the two.
    this.#ends(this.#log.anchor())
    return false
  }

  verdict(): AuditVerdict {
    const first = this.#log.first()
    const last = this.#log.last()
    return {
      whole: this.#broken === null,
      rows: this.#rows,
      ...(first && last ? { firstSeq: first.seq, lastSeq: last.seq, lastHash: last.hash } : {}),
      ...(this.#known && !this.#broken ? { known: this.#foundKnown ? 'there' : 'pruned' } : {}),
      ...this.#broken,
    }
  }

  #row(row: ChainRow): void {
    const seq = this.#at.seq + 1
    // A missing row shows here too: the next one's hash was made with it.
    if (!same(chainHash(this.#at.hash, row), row.hash)) {
      this.#break(seq, `row ${seq} is not what was written, or is missing`)
    } else if (row.seq === this.#known?.seq && !same(row.hash, this.#known.hash)) {
      this.#break(seq, `row ${seq} has another hash than the one you kept: it or one before it was changed`)
    } else {
      if (row.kind === PRUNED) this.#pruned = prunedUpTo(row)
      this.#foundKnown ||= row.seq === this.#known?.seq
      this.#at = row
      this.#rows++
    }
  }

  #ends(anchor: ChainLink | undefined): void {
    if (anchor === undefined) {
      this.#break(1, 'audit_anchor, where the log begins, was deleted')
    } else if (anchor.seq !== this.#pruned.seq || !same(anchor.hash, this.#pruned.hash)) {
      const from = Math.min(anchor.seq, this.#pruned.seq) + 1
      this.#break(from, `rows from ${from} on are gone, and no ${PRUNED} says that retention took them`)
    } else if (this.#rows === 0) {
      this.#break(anchor.seq + 1, 'the log is empty, and a bridge never leaves it so')
    } else if (this.#known) {
      this.#endsBefore(this.#known, anchor)
    }
  }

  #endsBefore(known: AuditPair, anchor: ChainLink): void {
    if (known.seq > this.#at.seq) {
      const from = this.#at.seq + 1
      this.#break(from, `rows from ${from} on are gone: row ${known.seq}, which you kept, is behind the end`)
    } else if (known.seq === anchor.seq && !same(known.hash, anchor.hash)) {
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
