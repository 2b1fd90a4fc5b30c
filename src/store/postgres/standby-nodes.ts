import type { Log } from '../../bridge/ports.ts'
import type { NodeRecord } from '../../domain/records.ts'
import type { Clock } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import type { Epoch } from '../engine.ts'
import { StoreError } from '../errors.ts'
import { NodeRows } from '../records.ts'
import type { SqlRow } from '../rows.ts'
import type { PostgresConnection, Sql } from './connection.ts'
import { channelOf } from './key-cache.ts'
import { TELLS_NODES } from './schema.ts'

/**
 * Holds the limbs while this bridge is a standby, so that a take-over reads only what has changed. They are read on the
 * connection that listens, after it listens; what the server tells of is dropped and read again. The bridge that takes
 * over lets the server tell a mark: who has heard it has heard of all that was committed before, on the server that the
 * bridge leads on. Where anything is in doubt nothing is held, and all limbs are read.
 */

/** Limbs read at once. */
export const NODE_PAGE = 2000
/** Limbs that are held: those whose names come first. */
const MAX_HELD = 200_000
/** Names that wait to be read again; when there are more, all is read again. */
const MAX_TOLD = 10_000
/** The pause between two pages: the server has a leader to serve. */
const PACE_MS = 250
/** The pause between two looks at what was told. Each one asks the server, so that one that is gone is noticed. */
const LOOK_MS = 2000
const AGAIN_MS = 10_000
/** The time for which a bridge that takes over waits for its mark. */
const MARK_MS = 1000

/**
 * Names the table and the version of its schema: one that was made anew under the same name tells nobody what it holds, nor
 * does a migration that changes the rows as ALTER TABLE does.
 */
const PLACE = "('nodes'::regclass::oid || '.' || version)"

const NODES = 'SELECT *, NULL::bigint AS last_heartbeat_at FROM nodes'

type Held = { -readonly [Key in keyof NodeRecord]: NodeRecord[Key] }

export interface HeldNodes {
  readonly rows: Map<string, Held>
  /** Limbs that have changed, and are to be read again. */
  readonly told: Set<string>
  /** The limbs up to this name are held, but for those that were told; undefined: all are. */
  until: string | undefined
  /** The table that they are from, as `PLACE` names it; undefined: it was not looked at yet. */
  table: string | undefined
}

const nothing = (): HeldNodes => ({ rows: new Map(), told: new Set(), until: '', table: undefined })

export interface StandbyNodesOptions {
  readonly clock: Clock
  readonly log: Log
  readonly schema: string
  /** The connection that listens; `heard` is told what it hears. */
  readonly connected: () => Promise<PostgresConnection>
  /** Closes it, so that the next one who needs it opens another. */
  readonly hangUp: () => void
  readonly maxHeld?: number | undefined
}

export class StandbyNodes {
  /** Reads the rows of the store too: what limbs have in common is kept once. */
  readonly rows = new NodeRows()
  readonly #options: StandbyNodesOptions
  #held = nothing()
  #phase: 'new' | 'waits' | 'ended' = 'new'
  #turn: Promise<number> = Promise.resolve(0)
  #cancel: (() => void) | undefined
  #mark: { readonly text: string; readonly heard: PromiseWithResolvers<void> } | undefined
  #isTold = false

  constructor(options: StandbyNodesOptions) {
    this.#options = options
  }

  /** The number of limbs that are held. */
  get size(): number {
    return this.#held.rows.size
  }

  /** Begins to hold them: another bridge leads. */
  start(): void {
    if (this.#phase !== 'new') return
    this.#phase = 'waits'
    this.#next(0)
  }

  /** Takes in what the server tells: `nodes NAME`, `nodes` alone when many have changed, the mark; undefined: all may have. */
  heard(told: string | undefined): void {
    if (told === this.#mark?.text) this.#mark?.heard.resolve()
    const [what, nodeId] = told?.split(' ') ?? ['nodes']
    if (this.#phase !== 'waits' || what !== 'nodes') return
    if (nodeId === undefined || this.#held.told.size >= MAX_TOLD) {
      this.#held = nothing()
      return
    }
    this.#held.rows.delete(nodeId)
    this.#held.told.add(nodeId)
  }

  /** Lets the server tell the mark of this epoch; to be called when that is committed. */
  async mark(sql: Sql, epoch: Epoch): Promise<void> {
    const { table } = this.#held
    if (this.#phase !== 'waits' || table === undefined) return
    this.#cancel?.()
    this.#mark = { text: `leads ${epoch} ${table}`, heard: Promise.withResolvers() }
    // The table as it is now.
    const text = `SELECT ${PLACE} AS place, pg_notify($1, 'leads ' || $2::text || ' ' || ${PLACE}) FROM schema_version`
    const [now] = await sql.all(text, channelOf(this.#options.schema), epoch).catch(() => [])
    // Nobody needs to wait for the mark of another one.
    if (now !== undefined && now.place !== table) this.#held = nothing()
  }

  /** Holds no more. Resolves to what was held when nothing of it can be old; undefined: all limbs are to be read. */
  async take(): Promise<HeldNodes | undefined> {
    const { log, hangUp } = this.#options
    const waited = this.#phase === 'waits'
    const held = this.#held
    const isSure = waited && held.rows.size > 0 && (await this.#isSure())
    // What was told meanwhile may have been everything.
    const isHeld = isSure && held === this.#held
    this.close()
    if (!waited) return undefined
    const how = { limbs: held.rows.size, changed: held.told.size }
    if (isHeld)
      log.info(how, 'the limbs were held ready: what changed is read, and when each was heard of last')
    else log.info({}, 'the limbs were not held ready, or not every change was heard of: all are read')
    // What it did not hear it may not hear later either.
    if (!isSure && held.rows.size > 0) hangUp()
    return isHeld ? held : undefined
  }

  /** Ends, and releases what is held. */
  close(): void {
    this.#phase = 'ended'
    this.#cancel?.()
    this.#held = nothing()
  }

  /** Waits for the mark, and for the end of the read that is under way. */
  async #isSure(): Promise<boolean> {
    if (this.#mark === undefined) return false
    const late = Promise.withResolvers<boolean>()
    const cancel = this.#options.clock.after(MARK_MS, () => late.resolve(false))
    const heard = Promise.all([this.#mark.heard.promise, this.#turn]).then(() => true)
    return await Promise.race([heard, late.promise]).finally(cancel)
  }

  #next(afterMs: number): void {
    if (this.#phase !== 'waits' || this.#mark !== undefined) return
    this.#cancel = this.#options.clock.after(afterMs, () => {
      this.#turn = this.#read()
      void this.#turn.then((ms) => this.#next(ms))
    })
  }

  /** Reads what is missing. Resolves to the pause after it; a server that fails costs no more than what is held. */
  async #read(): Promise<number> {
    const { connected, hangUp, log, maxHeld = MAX_HELD } = this.#options
    try {
      const connection = await connected()
      const held = this.#held
      held.table ??= await tableOf(connection)
      const room = maxHeld - held.rows.size - held.told.size
      const isMore = held.until !== undefined && room > 0
      if (isMore) await this.#readPage(connection, held, Math.min(NODE_PAGE, room))
      await this.#readTold(connection, held)
      // Many limbs that came later may be among the names that come first.
      if (held.rows.size > maxHeld + MAX_TOLD) this.heard(undefined)

      if (isMore && held === this.#held && (held.until === undefined || held.rows.size >= maxHeld))
        this.#tell()
      return isMore ? PACE_MS : LOOK_MS
    } catch (error) {
      this.heard(undefined)
      hangUp()
      log.debug(
        { error: messageOf(error) },
        'the limbs are not held ready for a take-over: it is tried again',
      )
      return AGAIN_MS
    }
  }

  async #readPage(sql: Sql, held: HeldNodes, limit: number): Promise<void> {
    const text = `${NODES} WHERE node_id > $1 ORDER BY node_id LIMIT $2`
    const page = await sql.all(text, held.until ?? '', limit)
    this.#keep(held, page)
    held.until = page.length < limit ? undefined : String(page.at(-1)?.node_id)
  }

  async #readTold(sql: Sql, held: HeldNodes): Promise<void> {
    const { until } = held
    const names = [...held.told].filter((name) => until === undefined || name <= until)
    held.told.clear()
    this.#keep(held, await sql.all(`${NODES} WHERE node_id = ANY($1)`, names))
  }

  /** Keeps what was read, but for what was told while it was on its way. */
  #keep({ rows, told }: HeldNodes, page: readonly SqlRow[]): void {
    for (const row of page) {
      const record = this.rows.record(row)
      if (!told.has(record.nodeId)) rows.set(record.nodeId, record)
    }
  }

  #tell(): void {
    if (this.#isTold) return
    this.#isTold = true
    this.#options.log.info({ limbs: this.size }, 'this standby holds the limbs that a take-over would read')
  }
}

/** Names the table. @throws StoreError when it does not tell of changes yet: an older bridge leads */
async function tableOf(sql: Sql): Promise<string> {
  const [row] = await sql.all(`SELECT version, ${PLACE} AS place FROM schema_version`)
  if (!(Number(row?.version) >= TELLS_NODES)) throw new StoreError('a bridge of an older version leads')
  return String(row?.place)
}

/** Gives out what was held, in order of the names, with what has changed meanwhile and when each limb was heard of last. */
export async function* pagesOf(
  all: Sql['all'],
  nodes: NodeRows,
  { rows, told, until }: HeldNodes,
): AsyncGenerator<readonly NodeRecord[]> {
  const heartbeats = all('SELECT node_id, at FROM heartbeats')
  // A server that goes away fails the one that is awaited first, and nobody awaits the other.
  heartbeats.catch(() => undefined)
  for (const row of await all(`${NODES} WHERE node_id = ANY($1)`, [...told])) {
    const record = nodes.record(row)
    if (until === undefined || record.nodeId <= until) rows.set(record.nodeId, record)
  }
  for (const { node_id, at } of await heartbeats) {
    const record = rows.get(String(node_id))
    // Nobody else has it yet.
    if (record !== undefined) record.lastHeartbeatAt = at as number
  }
  const names = [...rows.keys()].sort()
  while (names.length > 0) yield names.splice(0, NODE_PAGE).map((name) => rows.get(name) as NodeRecord)
}
