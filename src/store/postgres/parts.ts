import { messageOf, Refusal } from '../../kernel/errors.ts'
import type { KeptBackups, OpenedStore, StoreParts } from '../engine.ts'
import { openPostgres, type PostgresDatabase, type PostgresOptions } from './database.ts'
import { createPostgresMqttStore } from './mqtt/store.ts'
import { ServerReadings } from './readings.ts'
import { requireUnsealed, sealedSecrets } from './secrets.ts'
import { createPostgresStore } from './store.ts'
import { PostgresWebhookQueue } from './webhook-queue.ts'

export interface PostgresPartsOptions extends PostgresOptions {
  /** The secret under which those of the bridge are sealed; absent: they lie in files. */
  readonly secret?: string | undefined
}

/** Is connected to when it is led: that rejects with a StoreError which says what to do when the server cannot be reached. */
export function openPostgresStore(options: PostgresPartsOptions): OpenedStore {
  const database = openPostgres(options)
  return { leadership: database, parts: () => partsOf(database, options), close: () => database.close() }
}

/** Builds everything that the bridge keeps in it. */
async function partsOf(database: PostgresDatabase, options: PostgresPartsOptions): Promise<StoreParts> {
  try {
    if (options.secret === undefined) await requireUnsealed(database)
    const store = createPostgresStore(database)
    const mqttStore = createPostgresMqttStore(database)
    const webhookQueue = new PostgresWebhookQueue(database)
    const readings = new ServerReadings(database, options.schema, async () =>
      Object.fromEntries((await store.auditEnds()).map(({ log, rows }) => [log, rows])),
    )
    await Promise.all([mqttStore.load(), webhookQueue.load(), readings.refresh()])
    return {
      // It vacuums by itself.
      store: { ...store, maintain: () => readings.refresh() },
      mqttStore,
      webhookQueue,
      backups: backupsOfServer(),
      leadership: database,
      ...(options.secret !== undefined && { secrets: sealedSecrets(database, options.secret) }),
      running: database.running,
      replacesLost: false,
      freeBytes: () => undefined,
      readings: () => ({
        ...readings.known,
        walBytes: 0,
        pendingWrites: database.writer.pending,
        retained: mqttStore.retainedSums(),
      }),
      setMaxBytes: () => {},
    }
  } catch (error) {
    await database.close().catch((closing: unknown) => {
      options.log.debug({ error: messageOf(closing) }, 'the database was not closed cleanly')
    })
    throw error
  }
}

/** The server's operator backs it up; the bridge makes no file of it. */
function backupsOfServer(): KeptBackups {
  return {
    lastKnownAt: undefined,
    bytes: 0,
    async create() {
      throw new Refusal(
        'conflict',
        'the database is on a PostgreSQL server, which is backed up there (pg_dump, pgBackRest, or as the service ' +
          'offers it); `limb-bridge store copy` writes it into a file of SQLite while the bridge is stopped',
      )
    },
    prune: async () => ({ kept: 0, bytes: 0, beyondBytes: 0 }),
    isUnderWay: false,
    isStopping: false,
    newestAt: async () => undefined,
    list: async () => [],
    stop: async () => {},
  }
}
