import type { MqttStore } from '../bridge/mqtt-store.ts'
import type { Backups, Store } from '../bridge/ports.ts'
import type { WebhookQueue } from '../bridge/webhook-ports.ts'
import type { WallMs } from '../kernel/clock.ts'
import type { RunningClock } from '../kernel/running-clock.ts'

/** The interface of a database for whoever composes the bridge, whatever engine keeps it. */

/** Bytes and rows that are kept. Numbers that lie ready: to read them asks no server. */
export interface StoreReadings {
  readonly databaseBytes: number
  /** The write-ahead log beside it; 0 where there is no such file. */
  readonly walBytes: number
  /** Pages that hold something, of `store.maxBytes`; undefined: that bounds nothing here. */
  readonly usedBytes?: number
  /** Writes that wait for the next commit. */
  readonly pendingWrites: number
  /** Rows of the audit log by log. */
  readonly auditRows: Readonly<Record<string, number>>
  /** Bytes of the answers that are kept for idempotency keys. */
  readonly answerBytes: number
  /** Changes of status that are kept. */
  readonly historyRows: number
  readonly retained: { readonly rows: number; readonly bytes: number }
}

/** Copies that are kept beside the database, and what metrics show of them. */
export interface KeptBackups extends Backups {
  /** The time of the newest backup that was there at the start, or was made since; undefined: there is none. */
  readonly lastKnownAt: number | undefined
  /** The bytes of all backups, as of the start or of the last time that old ones were removed. */
  readonly bytes: number
  /** Ends one that is under way, and lets no other one begin; nothing is left of it. */
  stop(): Promise<void>
}

/** A number that each bridge raises which takes the store. */
export type Epoch = number

/** Names the bridge that has the store. */
export interface Leader {
  readonly name: string
  /** The time at which it took it; undefined: an older bridge has it, which does not say. */
  readonly since: WallMs | undefined
}

/** Is called with who has the store, at first and when that changes; undefined: nobody can be asked now. */
export type OnStandby = (leader: Leader | undefined) => void

/** Gives the store to one bridge at a time. Where it is a file of this machine, the lock of the file does. */
export interface Leadership {
  /**
   * Takes the store for this bridge. With `standby` it waits for as long as another one has it; without, it rejects then
   * with a StartError that says which.
   */
  lead(standby?: OnStandby): Promise<Epoch>
  /** This bridge, when it has taken the store; undefined before, and where no other machine could have it. */
  readonly leads: Leader | undefined
  /** The number of limbs that this bridge holds ready while another one leads; 0 when it leads. */
  readonly heldLimbs: number
  /** Resolves, with why, when this bridge has the store no more: it stores nothing, and must tell nobody. */
  readonly lost: Promise<string>
}

/** A database that is reached, and whose parts are there when this bridge leads. */
export interface OpenedStore {
  readonly leadership: Leadership
  /** Loads what is kept in memory. To be called once, after `lead()`. */
  parts(): Promise<StoreParts>
  /** Gives it up without the parts. */
  close(): Promise<void>
}

/** The few secrets of the bridge itself, where they lie in no files. Rejects when they were sealed with another secret. */
export interface SecretStore {
  read(name: string): Promise<string | undefined>
  write(name: string, text: string): Promise<void>
  delete(name: string): Promise<void>
}

/** A row of the presence history as it is kept, with its index. */
export const HISTORY_ROW_BYTES = 64

/** Everything that one database gives the bridge. */
export interface StoreParts {
  readonly store: Store
  readonly mqttStore: MqttStore
  readonly webhookQueue: WebhookQueue
  readonly backups: KeptBackups
  readonly leadership: Leadership
  /** Absent: the secrets lie in files of this machine. */
  readonly secrets?: SecretStore
  /** The clock by which rows get old. */
  readonly running: RunningClock
  /** The database was made just now, beside what an earlier one left. */
  readonly replacesLost: boolean
  /** Returns the free bytes of the disk below it, for a user who is not root; undefined: it is on no disk of this machine. */
  freeBytes(): number | undefined
  readings(): StoreReadings
  /** Takes over another `store.maxBytes`. */
  setMaxBytes(maxBytes: number): void
}
