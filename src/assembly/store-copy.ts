import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Config } from '../host/config/config.ts'
import { ConfigError } from '../host/config/config.ts'
import { loadConfig } from '../host/config/load.ts'
import { problemText } from '../host/config/problems.ts'
import { postgresUrlProblem } from '../host/config/schema.ts'
import { masterSecret, writeSecret } from '../host/process/secret-file.ts'
import { systemClock } from '../kernel/clock.ts'
import { messageOf, StartError } from '../kernel/errors.ts'
import { type CopyOutcome, type CopySource, type CopyTarget, copyStore } from '../store/copying.ts'
import { sealingSecret, serverFrom } from './postgres.ts'

/** `store copy`: everything that a database keeps, into another one, while no bridge runs on either. */

interface CopyRequest {
  /** A file of SQLite, or the URL of a server; the rest about the server is the configuration's. */
  readonly from: string
  readonly to: string
  readonly configFile: string | undefined
}

/** `secret`: what became of `invoke-secret`, by which limbs with an HTTP server know the bridge. */
type StoresCopied =
  | ({ readonly ok: true; readonly secret: 'copied' | 'none' | 'left' } & CopyOutcome)
  | { readonly ok: false; readonly reason: string }

const SECRET = 'invoke-secret'

export async function copyStores({ from, to, configFile }: CopyRequest): Promise<StoresCopied> {
  try {
    const { store } = loadConfig({ file: configFile, env: process.env }).config
    if (isUrl(from) && from === to) throw new StartError('--from and --to are the same')
    const source = await sourceOf(from, store)
    try {
      const target = await targetOf(to, store)
      try {
        const outcome = await copyStore(source, target)
        return { ok: true, ...outcome, secret: await copySecret({ from, to }, source, target) }
      } finally {
        await target.close()
      }
    } finally {
      await source.close()
    }
  } catch (error) {
    if (error instanceof ConfigError) return { ok: false, reason: error.problems.map(problemText).join('\n') }
    if (error instanceof StartError || error instanceof Error) return { ok: false, reason: messageOf(error) }
    throw error
  }
}

const isUrl = (text: string) => /^postgres(ql)?:/.test(text)

const quiet = { debug() {}, info() {}, warn() {}, error() {} }
const common = { clock: systemClock, log: quiet }

async function sourceOf(place: string, store: Config['store']): Promise<CopySource> {
  if (!isUrl(place)) return (await import('../store/sqlite/copying.ts')).sqliteSource(place, common)
  return (await import('../store/postgres/copying.ts')).postgresSource(serverAt(place, store))
}

async function targetOf(place: string, store: Config['store']): Promise<CopyTarget> {
  if (!isUrl(place)) return (await import('../store/sqlite/copying.ts')).sqliteTarget(place, common)
  return (await import('../store/postgres/copying.ts')).postgresTarget(serverAt(place, store))
}

function serverAt(url: string, store: Config['store']) {
  const problem = postgresUrlProblem(url)
  if (problem !== undefined) throw new StartError(`the URL of the server ${problem}`)
  return {
    ...common,
    server: serverFrom({ ...store, url }),
    schema: store.schema,
    secret: sealingSecret(store),
  }
}

/** Brings the secret along: from the folder of a file, or sealed in a database. */
async function copySecret(
  { from, to }: Pick<CopyRequest, 'from' | 'to'>,
  source: CopySource,
  target: CopyTarget,
): Promise<'copied' | 'none' | 'left'> {
  const fileOf = (place: string) => join(dirname(resolve(place)), SECRET)
  if (isUrl(from) && source.secrets === undefined) return 'left'
  const inFile = !isUrl(from) && existsSync(fileOf(from))
  const secret = isUrl(from)
    ? await source.secrets?.read(SECRET)
    : inFile
      ? Buffer.from(masterSecret(fileOf(from))).toString('hex')
      : undefined
  if (secret === undefined) return 'none'
  if (isUrl(to)) {
    if (target.secrets === undefined) return 'left'
    await target.secrets.write(SECRET, secret)
    return 'copied'
  }
  if (!existsSync(fileOf(to))) writeSecret(fileOf(to), `${secret}\n`)
  else if (Buffer.from(masterSecret(fileOf(to))).toString('hex') !== secret) return 'left'
  return 'copied'
}
