import { hostname } from 'node:os'
import { logAuditEnd } from '../bridge/upkeep/audit-mark.ts'
import type { OpenedStore, StoreParts } from '../store/engine.ts'
import type { Build } from './parts.ts'
import { sealingSecret, serverFrom } from './postgres.ts'
import { takeLead } from './standby.ts'
import { rescue } from './upkeep.ts'

/** Opens the database, takes it, and builds both stores and the backups on it. Only the engine that is used is loaded. */
export async function buildStore(build: Build): Promise<StoreParts> {
  const { log } = build.options
  const { kind } = build.options.config.store
  const opened = kind === 'postgres' ? await openServer(build) : await openFile(build)
  build.teardown.add(() => opened.close())
  await takeLead(build, opened.leadership)
  const parts = await opened.parts()
  // After everything that somebody may wait for: a thread that copies a database of gigabytes ends when it has done.
  build.teardown.add(() => parts.backups.stop())
  build.teardown.add(() => logAuditEnd({ store: parts.store, log }))
  return build.store.fill(parts)
}

async function openFile({ options, metrics }: Build): Promise<OpenedStore> {
  const { config, clock, log, acceptOlder = false } = options
  const { openSqlite } = await import('../store/sqlite/parts.ts')
  return openSqlite({
    file: config.store.path,
    backupFolder: config.backup.folder,
    acceptOlder,
    maxBytes: config.store.maxBytes,
    clock,
    log,
    onCommit: (durationMs, works) => metrics.committed(durationMs, works),
    // While this process lives, it holds what is nowhere else.
    onLost: (backups) => void rescue(backups, log),
  })
}

async function openServer({ options, metrics, now }: Build): Promise<OpenedStore> {
  const { config, clock, log } = options
  const secret = sealingSecret(config.store)
  const { openPostgresStore } = await import('../store/postgres/parts.ts')
  return openPostgresStore({
    server: serverFrom(config.store),
    schema: config.store.schema,
    fenceMs: () => now.config.lead.fenceSeconds * 1000,
    name: `${hostname()}, process ${process.pid}`,
    secret,
    clock,
    log,
    onCommit: (durationMs, works) => metrics.committed(durationMs, works),
  })
}
