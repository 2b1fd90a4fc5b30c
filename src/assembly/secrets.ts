import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Core } from '../bridge/core.ts'
import type { Config } from '../host/config/config.ts'
import { masterSecret, writeSecret } from '../host/process/secret-file.ts'
import { secretText } from '../kernel/secret-text.ts'
import type { SecretStore, StoreParts } from '../store/engine.ts'
import type { AppOptions, RunningBridge } from './options.ts'

/** Secrets that lie in files beside the database, or sealed in it. */

const PASSWORD = 'admin-password'
const MASTER = 'invoke-secret'

/**
 * The file beside the database from the first start until a start has succeeded: who did not get the welcome gets it
 * then.
 */
const UNFINISHED = 'first-start'

export async function firstStart(
  core: Core,
  options: AppOptions,
  { replacesLost, secrets }: Pick<StoreParts, 'replacesLost' | 'secrets'>,
): Promise<RunningBridge['adminPassword']> {
  const { config, adminPassword } = options
  const inMemory = isInMemory(config)
  const folder = folderOf(config)
  const [file, unfinished] = [join(folder, PASSWORD), join(folder, UNFINISHED)]
  const save = async (password: string) => {
    writeSecret(file, `${password}\n`)
    await secrets?.write(PASSWORD, password)
  }
  const now = await core.firstStart(save, adminPassword)
  if (now && !inMemory) writeSecret(unfinished, replacesLost ? 'replaces\n' : '')
  const isAdmins = once((password) => core.isPasswordOf('admin', password))
  if (!now && secrets) await bringPassword(isAdmins, secrets, file)
  const before = now || inMemory ? undefined : textOf(unfinished)
  const first = now || before !== undefined
  const given = first && adminPassword !== undefined
  const text = given ? undefined : textOf(file)
  // One that was changed since would only mislead.
  const holds = text !== undefined && (now || (await isAdmins(text)))
  return {
    file,
    firstStart: first,
    inFile: holds,
    isStale: text !== undefined && !holds,
    replacesLost: replacesLost || before === 'replaces',
    welcomed: () => rmSync(unfinished, { force: true }),
  }
}

/** Asks once for each password: an answer costs a hash, which every take-over waits for. */
function once(ask: (password: string) => Promise<boolean>): (password: string) => Promise<boolean> {
  const asked = new Map<string, Promise<boolean>>()
  return (password) => {
    const known = asked.get(password) ?? ask(password)
    asked.set(password, known)
    return known
  }
}

/** Writes the first password, which another machine made, into this one's file, as long as it holds; then it goes. */
async function bringPassword(
  isAdmins: (password: string) => Promise<boolean>,
  secrets: SecretStore,
  file: string,
): Promise<void> {
  const password = await secrets.read(PASSWORD)
  if (password === undefined) return
  if (!(await isAdmins(password))) await secrets.delete(PASSWORD)
  else if (textOf(file) !== password) writeSecret(file, `${password}\n`)
}

/** A folder of files of this machine; of a database in memory there is none but that of the control socket. */
function folderOf({ store, control }: Config): string {
  return dirname(store.path === ':memory:' ? control.socket : store.path)
}

function isInMemory({ store }: Config): boolean {
  return store.kind === 'sqlite' && store.path === ':memory:'
}

function textOf(file: string): string | undefined {
  try {
    return secretText(readFileSync(file)).trim()
  } catch {
    return undefined
  }
}

/** Limbs that are kept in memory only have secrets that last as long. */
export async function masterOf(config: Config, secrets: SecretStore | undefined): Promise<Uint8Array> {
  if (isInMemory(config)) return randomBytes(32)
  const file = join(folderOf(config), MASTER)
  if (secrets === undefined) return masterSecret(file)
  const sealed = await secrets.read(MASTER)
  if (sealed !== undefined) return Buffer.from(sealed, 'hex')
  // A database that was in a file of this machine before has limbs that know this one.
  const master = existsSync(file) ? masterSecret(file) : randomBytes(32)
  await secrets.write(MASTER, Buffer.from(master).toString('hex'))
  return master
}
