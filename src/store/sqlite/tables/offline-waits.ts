import type Sqlite from 'better-sqlite3'
import type { OfflineWait } from '../../../bridge/ports.ts'
import { offlineWaitOfRow } from '../../records.ts'
import { RowReader } from '../../rows.ts'

/** Keeps what invocations that wait for a limb need after a restart. Triggers remove the rows (schema-14.ts). */
export class OfflineWaitsTable {
  readonly #reader = new RowReader('offline_waits', ['invocation_id'])
  readonly #put: Sqlite.Statement
  readonly #get: Sqlite.Statement<[string]>

  constructor(sql: Sqlite.Database) {
    this.#put = sql.prepare(`INSERT INTO offline_waits VALUES (?, ?, ?)
      ON CONFLICT (invocation_id) DO UPDATE SET asked = excluded.asked, ends_at = excluded.ends_at`)
    this.#get = sql.prepare('SELECT * FROM offline_waits WHERE invocation_id = ?')
  }

  put({ invocationId, asked, endsAt }: OfflineWait): void {
    this.#put.run(invocationId, asked, Math.round(endsAt))
  }

  get(invocationId: string): OfflineWait | null {
    const row = this.#get.get(invocationId)
    return row === undefined ? null : offlineWaitOfRow(row, this.#reader)
  }
}
