import type { KeptBackups, Leadership, OpenedStore, StoreParts } from '../engine.ts'
import { createBackups } from './backup/backups.ts'
import { type Database, type DatabaseOptions, openDatabase } from './database.ts'
import { createMqttStore } from './mqtt/store.ts'
import { createStore } from './store.ts'
import { createWebhookQueue } from './webhook-queue.ts'

export interface SqlitePartsOptions extends Omit<DatabaseOptions, 'backupFolder' | 'onLost'> {
  readonly backupFolder: string | null
  /** Called once when its files were removed under it: a backup of what this process still holds can be made. */
  readonly onLost: (backups: KeptBackups) => void
}

/** Opens the file and takes its lock. @throws StoreError whose message says what to do. */
export function openSqlite(options: SqlitePartsOptions): OpenedStore {
  const parts = openSqliteParts(options)
  return { leadership: LOCKED, parts: async () => parts, close: () => parts.store.close() }
}

/** Opens the file, and builds everything that the bridge keeps in it. @throws StoreError whose message says what to do. */
export function openSqliteParts({ onLost, ...options }: SqlitePartsOptions): StoreParts {
  const database = openDatabase({ ...options, onLost: () => onLost(backups) })
  const backups = createBackups({ database, folder: options.backupFolder, clock: options.clock })
  try {
    return partsOf(database, backups)
  } catch (error) {
    // A row that cannot be understood: its lock goes too.
    void database.close()
    throw error
  }
}

function partsOf(database: Database, backups: KeptBackups): StoreParts {
  const store = createStore(database)
  const mqttStore = createMqttStore(database)
  return {
    store,
    mqttStore,
    webhookQueue: createWebhookQueue(database),
    backups,
    leadership: LOCKED,
    running: database.running,
    replacesLost: database.replacesLost,
    freeBytes: () => freeBytes(database),
    readings: () => ({
      ...database.sizes(),
      usedBytes: database.room.usedBytes(),
      pendingWrites: database.writer.pending,
      auditRows: store.auditRows(),
      answerBytes: store.answerBytes(),
      historyRows: store.historyRows(),
      retained: mqttStore.retainedSums(),
    }),
    setMaxBytes: (maxBytes) => database.room.setMaxBytes(maxBytes),
  }
}

/** The lock of the file is held from its opening to its end, and nobody else can take it meanwhile. */
const LOCKED: Leadership = {
  lead: async () => 0,
  leads: undefined,
  heldLimbs: 0,
  lost: new Promise(() => undefined),
}

/** A disk that cannot even be asked has no room; one on which the files are gone is not asked. */
function freeBytes(database: Database): number | undefined {
  if (database.lost() !== undefined) return undefined
  try {
    return database.freeBytes()
  } catch {
    return 0
  }
}
