import type { Pruned, ReadTx, Retention, Store, StoreHealth, Tx } from '../../bridge/ports.ts'
import type { NodeRecord } from '../../domain/records.ts'
import { HISTORY_ROW_BYTES } from '../engine.ts'
import { type Database, damaged } from './database.ts'
import { isDamage } from './errors.ts'
import { AuditTable } from './tables/audit.ts'
import { HistoryTable } from './tables/history.ts'
import { InvocationRecords } from './tables/invocation-records.ts'
import { InvocationsTable } from './tables/invocations.ts'
import { NodesTable } from './tables/nodes.ts'
import { OfflineWaitsTable } from './tables/offline-waits.ts'
import { OwnedSessionsTable } from './tables/owned-sessions.ts'
import { PairingRequestsTable } from './tables/pairing-requests.ts'
import { PoliciesTable } from './tables/policies.ts'
import { PrincipalAddressesTable } from './tables/principal-addresses.ts'
import { PrincipalsTable } from './tables/principals.ts'
import { RefusedTable } from './tables/refused.ts'
import { RunningTime } from './tables/running.ts'
import { TokensTable } from './tables/tokens.ts'
import { SqliteTx, type Tables } from './tx.ts'

/** The Store port on SQLite, and what an operator's tools need of it. */
export interface SqliteStore extends Store {
  /** Rows of the audit log by log. */
  auditRows(): Readonly<Record<string, number>>
  /** Bytes of the answers that are kept for idempotency keys. */
  answerBytes(): number
  /** Changes of status that are kept. */
  historyRows(): number
}

export interface StoreOptions {
  /** The newest refused keys of a node that are kept. */
  readonly maxRefusedKeysPerNode?: number
}

const MAX_REFUSED_KEYS_PER_NODE = 16
/** Nodes read at once: some 20 ms, then other work may run. */
const LOAD_PAGE = 2000

/** @throws StoreError (BadRowError) when a key, principal or policy does not parse. */
export function createStore(database: Database, options: StoreOptions = {}): SqliteStore {
  const { sql, writer, room } = database
  const born = () => database.running.now()
  const tables: Tables = {
    nodes: new NodesTable(sql),
    requests: new PairingRequestsTable(sql),
    refused: new RefusedTable(sql, options.maxRefusedKeysPerNode ?? MAX_REFUSED_KEYS_PER_NODE),
    principals: new PrincipalsTable(sql),
    addresses: new PrincipalAddressesTable(sql),
    tokens: new TokensTable(sql),
    policies: new PoliciesTable(sql),
    audit: new AuditTable(sql, () => room.has(0), born),
    invocations: new InvocationsTable(sql, born),
    offlineWaits: new OfflineWaitsTable(sql),
    history: new HistoryTable(sql, born),
    ownedSessions: new OwnedSessionsTable(sql),
    room,
  }
  const { history } = tables
  const running = new RunningTime(sql)
  const invocations = new InvocationRecords(writer, tables)
  const health = (): StoreHealth => {
    // Looks whether the files are in their places, now.
    database.lost()
    return writer.health()
  }
  /** Damage that a load meets is told with the way to restore. */
  const loading = <T>(read: () => T): T => {
    try {
      return read()
    } catch (error) {
      throw isDamage(error) ? damaged(error, database) : error
    }
  }
  /** Writes history. What is undone counts no longer. */
  const counted = async <T>(run: () => T): Promise<T> => {
    try {
      return await writer.write(run)
    } catch (error) {
      history.countAgain()
      throw error
    }
  }
  loading(() => checkRows(tables))

  return {
    async read<T>(work: (tx: ReadTx) => Promise<T>): Promise<T> {
      const open = writer.open()
      if (open !== undefined) await open
      return work(new SqliteTx(tables))
    },
    transact<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
      const tx = new SqliteTx(tables)
      invocations.close()
      return writer.transact(
        () => work(tx),
        () => tx.end(),
      )
    },
    recordInvocation(record, entry) {
      // Alone, and before anything of it is written: the others of its commit are stored.
      const noRoom = tables.audit.noRoomFor(entry)
      return noRoom ? Promise.reject(noRoom) : invocations.add(record, entry)
    },
    async settled() {
      await writer.settled()
    },
    async *loadNodes(): AsyncGenerator<readonly NodeRecord[]> {
      let after = ''
      for (;;) {
        const page = loading(() => tables.nodes.page(after, LOAD_PAGE))
        const last = page.at(-1)
        if (last === undefined) return
        yield page
        after = last.nodeId
      }
    },
    async loadRequests(bounds) {
      const { kept, beyond } = loading(() => tables.requests.within(bounds))
      // On a full disk they stay there until the next start, and are not loaded then either.
      if (beyond.length > 0)
        await writer.write(() => tables.requests.deleteAll(beyond)).catch(() => undefined)
      const requests = loading(() => kept.flatMap((requestId) => tables.requests.get(requestId) ?? []))
      return { requests, ended: beyond.length }
    },
    runningMs: async () => running.get(),
    saveRunningMs: (ms) =>
      writer.write(() => {
        running.put(ms)
        running.putMark(database.running.steady.mark())
      }),
    saveHeartbeats(batch) {
      return writer.write(() => {
        for (const { nodeId, at } of batch) tables.nodes.heard(nodeId, at)
      })
    },
    saveTokenUses(batch) {
      return writer.write(() => {
        for (const use of batch) tables.tokens.used(use)
      })
    },
    knownAddresses: async () => tables.addresses.all(),
    saveKnownAddress: (known) => writer.writeSoon(() => tables.addresses.put(known)),
    resumeHistory: (now) => writer.write(() => history.resume(now)),
    saveHistory: (batch) =>
      counted(() => {
        // The newest of what is known stays: what is missing is told by the next change.
        if (room.has(HISTORY_ROW_BYTES * batch.length)) for (const change of batch) history.put(change)
      }),
    async history(nodeId) {
      return history.ofNode(nodeId)
    },
    pruneHistory: (before, maxRows) => counted(() => history.prune(before, maxRows, PRUNE_HISTORY_ROWS)),
    health,
    probe: () => writer.probe(),
    maintain: logShortener(database),
    verifyAudit: (known) => tables.audit.verifyInTurns(known),
    answerBytes: () => tables.invocations.answerBytes(),
    historyRows: () => history.size(),
    auditRows: () => Object.fromEntries(tables.audit.ends().map(({ log, rows }) => [log, rows])),
    auditEnds: async () => tables.audit.ends(),
    async prune(retention) {
      try {
        return await writer.write(() => pruneSome(tables, retention, born))
      } catch (error) {
        tables.invocations.pruneAgain()
        throw error
      }
    },
    close: () => database.close(),
  }
}

/** A write-ahead log that grew beyond this is cut although writes go on. */
const LOG_LARGE_BYTES = 16 * 1024 * 1024

/** SQLite moves the log's content by itself, but never makes the file smaller. */
function logShortener(database: Pick<Database, 'sizes' | 'checkpoint'>): () => Promise<void> {
  let before = 0
  return async () => {
    const bytes = database.sizes().walBytes
    if (bytes > 0 && (bytes === before || bytes > LOG_LARGE_BYTES)) database.checkpoint()
    before = database.sizes().walBytes
  }
}

/** Rows of history that are deleted in one commit: some 20 ms of event loop. */
const PRUNE_HISTORY_ROWS = 1000
/** Rows of one kind that are deleted before somebody looks at the clock. */
const PRUNE_ROWS = 250
/** The time of one step; its commit comes on top, and takes as long again. */
const PRUNE_MS = 10

function pruneSome({ refused, invocations, audit }: Tables, retention: Retention, now: () => number): Pruned {
  const endsAt = now() + PRUNE_MS
  const step = { limit: PRUNE_ROWS, inTime: () => now() < endsAt }
  const kept = {
    before: retention.invocationsBefore,
    keep: retention.maxInvocations,
    keysBefore: retention.keysBefore,
  }
  const logs = {
    decisions: { before: retention.auditBefore, keep: retention.maxAuditRows },
    activity: { before: retention.auditBefore, keep: retention.maxActivityRows },
    attempts: { before: retention.attemptsBefore, keep: retention.maxAttemptRows },
  }
  let rows = refused.expire(retention.running)
  for (;;) {
    const ended = invocations.prune(kept, step)
    const audited = audit.prune(logs, PRUNE_ROWS, retention.at)
    rows += ended.rows + audited
    const more = ended.more || audited > 0
    if (!more || !step.inTime()) return { rows, more }
  }
}

/** Looks once now at what is read one by one later: a bad row stops the start, not a sign-in at night. */
function checkRows(tables: Tables): void {
  tables.nodes.checkKeys()
  tables.principals.check()
  tables.policies.check()
}
