import { createHash } from 'node:crypto'
import type { NodeKeys } from '../../domain/records.ts'
import type { NodeRows } from '../records.ts'
import type { Sql } from './connection.ts'

/** Keys that are kept; some 400 bytes each. */
const MAX_KEPT = 50_000
/** Look-ups in one statement. */
const MAX_BATCH = 500

/** Names the channel on which the server tells of changes; a schema's name may be too long for one. */
export function channelOf(schema: string): string {
  return `limb_${createHash('md5').update(schema).digest('hex')}`
}

interface Batch {
  readonly names: Map<string, PromiseWithResolvers<NodeKeys | null>>
  /** Names that changed since it was asked, so that its answer may be old; undefined: any may be. */
  changed: Set<string> | undefined
}

/**
 * Keeps the keys of limbs that signed in, so that a fleet that comes back asks the server little: what is looked up in one
 * turn is one statement, and what was looked up stays until it changes. A change of this bridge drops the key before it is
 * stored, and keeps it out until that transaction has ended; a change of anybody else is told by the server (NOTIFY).
 */
export class KeyCache {
  readonly #nodes: NodeRows
  readonly #max: number
  /** The one that was looked up longest ago comes first. */
  readonly #kept = new Map<string, NodeKeys>()
  /** Names that a transaction changes which has not ended. */
  readonly #open = new Set<string>()
  readonly #asked = new Set<Batch>()
  #next: Batch | undefined

  constructor(nodes: NodeRows, max = MAX_KEPT) {
    this.#nodes = nodes
    this.#max = max
  }

  /** `hears`: the server's word of changes would have come. Resolves to null when there are none. */
  get(sql: Sql, nodeId: string, hears: boolean): Promise<NodeKeys | null> {
    const kept = hears ? this.#kept.get(nodeId) : undefined
    if (kept !== undefined) return Promise.resolve(kept)
    const batch = this.#batch(sql)
    let asked = batch.names.get(nodeId)
    if (asked === undefined) {
      asked = Promise.withResolvers()
      batch.names.set(nodeId, asked)
    }
    return asked.promise
  }

  /** Drops a key that a transaction of this bridge is about to change. */
  changing(nodeId: string): void {
    this.#open.add(nodeId)
    this.#drop(nodeId)
  }

  /** The transaction has ended, well or not. */
  ended(): void {
    for (const nodeId of this.#open) this.#drop(nodeId)
    this.#open.clear()
  }

  /** Takes in what the server tells: `keys NAME`, or `keys` alone when many have changed. */
  heard(told: string): void {
    const [what, nodeId] = told.split(' ')
    if (what !== 'keys') return
    if (nodeId === undefined) this.forget()
    else this.#drop(nodeId)
  }

  /** Drops everything: what the server has told may not have come. */
  forget(): void {
    this.#kept.clear()
    for (const batch of this.#asked) batch.changed = undefined
  }

  #drop(nodeId: string): void {
    this.#kept.delete(nodeId)
    for (const batch of this.#asked) batch.changed?.add(nodeId)
  }

  #batch(sql: Sql): Batch {
    if (this.#next !== undefined && this.#next.names.size < MAX_BATCH) return this.#next
    const batch: Batch = { names: new Map(), changed: new Set() }
    this.#next = batch
    setImmediate(() => void this.#ask(sql, batch))
    return batch
  }

  async #ask(sql: Sql, batch: Batch): Promise<void> {
    if (this.#next === batch) this.#next = undefined
    this.#asked.add(batch)
    try {
      const rows = await sql.all('SELECT * FROM node_keys WHERE node_id = ANY($1)', [...batch.names.keys()])
      for (const row of rows) {
        const nodeId = String(row.node_id)
        const keys = this.#nodes.keys(row)
        if (batch.changed?.has(nodeId) === false && !this.#open.has(nodeId)) this.#keep(nodeId, keys)
        batch.names.get(nodeId)?.resolve(keys)
      }
      for (const asked of batch.names.values()) asked.resolve(null)
    } catch (error) {
      for (const asked of batch.names.values()) asked.reject(error)
    } finally {
      this.#asked.delete(batch)
    }
  }

  #keep(nodeId: string, keys: NodeKeys): void {
    const [oldest] = this.#kept.size >= this.#max ? this.#kept.keys() : []
    if (oldest !== undefined) this.#kept.delete(oldest)
    this.#kept.set(nodeId, keys)
  }
}
