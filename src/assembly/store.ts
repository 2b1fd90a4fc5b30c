import { logAuditEnd } from '../bridge/upkeep/audit-mark.ts'
import type { StoreParts } from '../store/engine.ts'
import type { Build } from './parts.ts'
import { rescue } from './upkeep.ts'

/** Opens the database, and builds both stores and the backups on it. Only the engine that is used is loaded. */
export async function buildStore(build: Build): Promise<StoreParts> {
  const { log } = build.options
  const parts = await openSqlite(build)
  const { store } = parts
  build.teardown.add(() => store.close())
  build.teardown.add(() => logAuditEnd({ store, log }))
  await parts.leadership.lead()
  return build.store.fill(parts)
}

async function openSqlite({ options, metrics }: Build): Promise<StoreParts> {
  const { config, clock, log, acceptOlder = false } = options
  const { openSqliteParts } = await import('../store/sqlite/parts.ts')
  return openSqliteParts({
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
