import type { InvocationRecord } from '../../../domain/invocations.ts'
import type { AuditEntry } from '../../../domain/records.ts'
import { isStorageFailure } from '../errors.ts'
import type { GroupCommit } from '../group-commit.ts'
import type { AuditTable } from './audit.ts'
import type { InvocationsTable } from './invocations.ts'

interface Batch {
  /** The record of each invocation that came last: most begin and end within one commit, and are written once. */
  readonly records: Map<string, InvocationRecord>
  readonly entries: AuditEntry[]
  readonly written: Promise<void>
}

/**
 * The rows of invocations that nobody waits for, collected until they are written together. Whatever else is written
 * closes the batch first, so that the order of all writes is the order in which they were asked for.
 */
export class InvocationRecords {
  readonly #writer: GroupCommit
  readonly #invocations: InvocationsTable
  readonly #audit: AuditTable
  #open: Batch | undefined

  constructor(writer: GroupCommit, tables: { invocations: InvocationsTable; audit: AuditTable }) {
    this.#writer = writer
    this.#invocations = tables.invocations
    this.#audit = tables.audit
  }

  /** Resolves, or rejects, with the others of its batch. */
  add(record: InvocationRecord | undefined, entry: AuditEntry): Promise<void> {
    this.#open ??= this.#begin()
    if (record) this.#open.records.set(record.invocationId, record)
    this.#open.entries.push(entry)
    return this.#open.written
  }

  /** Closes the batch: records that come from now on are written after what is asked for now. */
  close(): void {
    this.#open = undefined
  }

  #begin(): Batch {
    const records = new Map<string, InvocationRecord>()
    const entries: AuditEntry[] = []
    const written = this.#writer.writeLazily(() => {
      this.close()
      this.#write(records, entries)
    })
    return { records, entries, written }
  }

  /** One that cannot be written keeps none of the others from it. */
  #write(records: ReadonlyMap<string, InvocationRecord>, entries: readonly AuditEntry[]): void {
    let failure: { readonly error: unknown } | undefined
    const tried = (write: () => void) => {
      try {
        write()
      } catch (error) {
        // The whole batch is lost then, and its transaction may be gone.
        if (isStorageFailure(error)) throw error
        failure ??= { error }
      }
    }
    for (const record of records.values()) tried(() => this.#invocations.put(record))
    for (const entry of entries) tried(() => this.#audit.append(entry))
    if (failure) throw failure.error
  }
}
