import { logAuditEnd } from '../bridge/upkeep/audit-mark.ts'
import { createBackups } from '../store/sqlite/backup/backups.ts'
import { openDatabase } from '../store/sqlite/database.ts'
import { createMqttStore } from '../store/sqlite/mqtt/store.ts'
import { createStore } from '../store/sqlite/store.ts'
import { createWebhookQueue } from '../store/sqlite/webhook-queue.ts'
import type { Build, StoreParts } from './parts.ts'
import { rescue } from './upkeep.ts'

/** Opens the database, and builds both stores and the backups on it. */
export function buildStore(build: Build): StoreParts {
  const { metrics, teardown } = build
  const { config, clock, log, acceptOlder = false } = build.options
  const database = openDatabase({
    file: config.store.path,
    backupFolder: config.backup.folder,
    acceptOlder,
    maxBytes: config.store.maxBytes,
    clock,
    log,
    onCommit: (durationMs, works) => metrics.committed(durationMs, works),
    // While this process lives, it holds what is nowhere else.
    onLost: () => void rescue(build.store.value.backups, log),
  })
  teardown.add(() => database.close())
  const store = createStore(database)
  teardown.add(() => logAuditEnd({ store, log }))
  return build.store.fill({
    database,
    store,
    mqttStore: createMqttStore(database),
    webhookQueue: createWebhookQueue(database),
    backups: createBackups({ database, folder: config.backup.folder, clock }),
  })
}
