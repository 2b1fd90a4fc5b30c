import { randomBytes } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Core } from '../bridge/core.ts'
import type { Config } from '../host/config/config.ts'
import { masterSecret, writeSecret } from '../host/process/secret-file.ts'
import { secretText } from '../kernel/secret-text.ts'
import type { AppOptions, RunningBridge } from './options.ts'

/** Secrets that lie in files beside the database. */

/**
 * The file beside the database from the first start until a start has succeeded: who did not get the welcome gets it
 * then.
 */
const UNFINISHED = 'first-start'

export async function firstStart(
  core: Core,
  options: AppOptions,
  replacesLost: boolean,
): Promise<RunningBridge['adminPassword']> {
  const { config, adminPassword } = options
  const inMemory = config.store.path === ':memory:'
  const folder = dirname(inMemory ? config.control.socket : config.store.path)
  const [file, unfinished] = [join(folder, 'admin-password'), join(folder, UNFINISHED)]
  const now = await core.firstStart((password) => writeSecret(file, `${password}\n`), adminPassword)
  if (now && !inMemory) writeSecret(unfinished, replacesLost ? 'replaces\n' : '')
  const before = now || inMemory ? undefined : textOf(unfinished)
  const first = now || before !== undefined
  const given = first && adminPassword !== undefined
  const text = given ? undefined : textOf(file)
  // One that was changed since would only mislead.
  const holds = text !== undefined && (now || (await core.isPasswordOf('admin', text)))
  return {
    file,
    firstStart: first,
    inFile: holds,
    isStale: text !== undefined && !holds,
    replacesLost: replacesLost || before === 'replaces',
    welcomed: () => rmSync(unfinished, { force: true }),
  }
}

function textOf(file: string): string | undefined {
  try {
    return secretText(readFileSync(file)).trim()
  } catch {
    return undefined
  }
}

/** Limbs that are kept in memory only have secrets that last as long. */
export function masterOf({ store }: Config): Uint8Array {
  return store.path === ':memory:'
    ? randomBytes(32)
    : masterSecret(join(dirname(store.path), 'invoke-secret'))
}
