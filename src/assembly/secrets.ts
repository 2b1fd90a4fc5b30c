import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Core } from '../bridge/core.ts'
import type { Config } from '../host/config/config.ts'
import { masterSecret, writeSecret } from '../host/process/secret-file.ts'
import type { AppOptions, RunningBridge } from './options.ts'

/** Secrets that lie in files beside the database. */

export async function firstStart(
  core: Core,
  options: AppOptions,
  replacesLost: boolean,
): Promise<RunningBridge['adminPassword']> {
  const { config, adminPassword } = options
  const beside = config.store.path === ':memory:' ? config.control.socket : config.store.path
  const file = join(dirname(beside), 'admin-password')
  const first = await core.firstStart((password) => writeSecret(file, `${password}\n`), adminPassword)
  const given = first && adminPassword !== undefined
  return { file, firstStart: first, inFile: !given && existsSync(file), replacesLost }
}

/** Limbs that are kept in memory only have secrets that last as long. */
export function masterOf({ store }: Config): Uint8Array {
  return store.path === ':memory:'
    ? randomBytes(32)
    : masterSecret(join(dirname(store.path), 'invoke-secret'))
}
