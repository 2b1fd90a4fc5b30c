import { logAuditEnd } from '../bridge/upkeep/audit-mark.ts'
import type { StoreParts } from '../store/engine.ts'
import type { Build } from './parts.ts'
import { sealingSecret, serverFrom } from './postgres.ts'
import { rescue } from './upkeep.ts'

/** Opens the database, and builds both stores and the backups on it. Only the engine that is used is loaded. */
export async function buildStore(build: Build): Promise<StoreParts> {
  const { log } = build.options
  const parts =
    build.options.config.store.kind === 'postgres' ? await openServer(build) : await openSqlite(build)
  const { store } = parts
  build.teardown.add(() => store.close())
  build.teardown.add(() => logAuditEnd({ store, log }))
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

/** Another bridge is given this time to be gone: the server ends the session of a frozen one after 8 s. */
const OTHER_BRIDGE_MS = 12_000

async function openServer({ options, metrics }: Build): Promise<StoreParts> {
  const { config, clock, log } = options
  const secret = sealingSecret(config.store)
  const { openPostgresParts } = await import('../store/postgres/parts.ts')
  return openPostgresParts({
    server: serverFrom(config.store),
    schema: config.store.schema,
    patienceMs: OTHER_BRIDGE_MS,
    secret,
    clock,
    log,
    onCommit: (durationMs, works) => metrics.committed(durationMs, works),
  })
}
