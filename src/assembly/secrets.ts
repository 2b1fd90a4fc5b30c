import { randomBytes } from 'node:crypto'
import { readFileSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Core } from '../bridge/core.ts'
import type { Config } from '../host/config/config.ts'
import { masterSecret, writeSecret } from '../host/process/secret-file.ts'
import { messageOf } from '../kernel/errors.ts'
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

/** A file of secrets is small; more is another file. */
const MAX_SECRET_BYTES = 16_384

/**
 * The lines of a file with a secret that are not empty. `%d/` at the beginning of the path is the folder of the
 * credentials that the service manager hands over, as in its own units.
 */
export function secretLines(file: string): readonly string[] {
  return secretText(readSecret(credentialPath(file, process.env.CREDENTIALS_DIRECTORY)))
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '')
}

function credentialPath(file: string, folder: string | undefined): string {
  if (!file.startsWith('%d/')) return file
  if (!folder) throw new Error(`${file}: the service manager hands over no credentials (LoadCredential=)`)
  return join(folder, file.slice(3))
}

function readSecret(file: string): Buffer {
  try {
    if (statSync(file).size > MAX_SECRET_BYTES) throw new Error(`it has more than ${MAX_SECRET_BYTES} bytes`)
    return readFileSync(file)
  } catch (error) {
    throw new Error(`${file} cannot be read: ${messageOf(error)}`, { cause: error })
  }
}
