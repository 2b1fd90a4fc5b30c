import { type DatabaseTools, doctor } from '../host/doctor/doctor.ts'
import { systemClock } from '../kernel/clock.ts'
import { messageOf } from '../kernel/errors.ts'
import { sealingSecret, serverFrom } from './postgres.ts'

/** `restore`, `doctor` and `tls init` over the files of this machine. The database's library is loaded when one of them asks for it. */

async function databaseTools(): Promise<DatabaseTools> {
  const { backupFolder, newestBackupIn, whyNoBackupsIn } = await import('../store/sqlite/backup/backups.ts')
  const { inspectDatabase, waitingDeliveries } = await import('../store/sqlite/backup/inspect.ts')
  const { leftoversAt } = await import('../store/sqlite/database.ts')
  const { holderOf } = await import('../store/sqlite/backup/restore.ts')
  return {
    inspect: (file) => inspectDatabase(file, { readonly: true }),
    missing: (file, backups) => leftoversAt(file, backups),
    holder: (file) => holderOf(file, systemClock.wallMs()),
    async newestBackup(file, chosen) {
      const folder = backupFolder(file, chosen)
      return { folder, at: await newestBackupIn(folder) }
    },
    whyNoBackupsIn,
    waitingDeliveries,
    async server(store) {
      const { inspectServer } = await import('../store/postgres/inspect.ts')
      try {
        sealingSecret(store)
        return await inspectServer({ server: serverFrom(store), schema: store.schema })
      } catch (error) {
        return messageOf(error)
      }
    },
  }
}

export const maintenance = {
  async restore(from: string, to: string) {
    const { StoreError } = await import('../store/sqlite/errors.ts')
    const { restoreDatabase } = await import('../store/sqlite/backup/restore.ts')
    try {
      return { ok: true as const, ...restoreDatabase({ from, to, now: systemClock.wallMs() }) }
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      return { ok: false as const, reason: error.message }
    }
  },
  async doctor(file: string | undefined) {
    return await doctor({ file, env: process.env, clock: systemClock, database: await databaseTools() })
  },
  async initTls(folder: string, names: readonly string[]) {
    const { initAuthority, machineNames } = await import('../host/tls/own-authority.ts')
    try {
      const made = await initAuthority(folder, [...names, ...machineNames()])
      const { ca, cert, key } = made.files
      return { ok: true as const, ...made, ca, cert, key }
    } catch (error) {
      return { ok: false as const, reason: messageOf(error) }
    }
  },
}
