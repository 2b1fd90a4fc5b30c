import { dirname, resolve } from 'node:path'
import { type Clock, iso } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import { type Config, ConfigError } from '../config/config.ts'
import type { Environment } from '../config/env.ts'
import { loadConfig } from '../config/load.ts'
import { problemText } from '../config/problems.ts'
import type { PORT_SOCKETS, ServiceState } from '../systemd/service-state.ts'
import { unusableFiles, usesTls } from '../tls/certificate-files.ts'
import { checkCertificates } from './certificates.ts'
import { type CheckResult, ok, problem, warning } from './check-result.ts'
import {
  checkClock,
  checkDisk,
  checkFile,
  checkFolder,
  checkOpenFiles,
  heldDeleted,
  lookAt,
} from './machine.ts'
import { checkControlSocket, checkHeldOpen, checkPort, type Running } from './network.ts'
import { checkServer, type ServerFound } from './server.ts'
import { AS_ROOT, checkFromOutside, checkService, serviceOf, socketUnit } from './service.ts'
import { checkWebhooks, type WaitingDeliveries } from './webhooks.ts'

/** Looks at everything that a bridge needs, with or without one running, and says what to do. Changes nothing. */

/** The tools that the doctor needs of the store, which is an adapter of the same row. */
export interface DatabaseTools {
  /** Reads every page, beside a running bridge too. */
  inspect(file: string): {
    readonly version: number
    readonly nodes: number
    readonly problems: readonly string[]
    /** It could not even be opened. */
    readonly unopened?: boolean
  }
  /** Says what a start would of a place where no database is, beside what an earlier one left; undefined: a first start. */
  missing(
    file: string,
    backupFolder: string | null,
  ): { readonly refused: boolean; readonly text: string } | undefined
  /** Names who runs a bridge on it, such as `process 7`; undefined: nobody. It throws when that cannot be found out. */
  holder(file: string): string | undefined
  /** The deliveries that wait, by webhook; empty when the file is none of ours, or older than webhooks. */
  waitingDeliveries(file: string): ReadonlyMap<string, WaitingDeliveries>
  /** The newest backup and when it was made. */
  newestBackup(file: string, folder: string | null): Promise<{ folder: string; at: number | undefined }>
  /** Says what keeps backups from a folder that was chosen; undefined: nothing. */
  whyNoBackupsIn(chosen: string): string | undefined
  /** Asks a server of PostgreSQL; a sentence when it cannot be asked. Never rejects. */
  server(store: Config['store']): Promise<ServerFound | string>
}

export interface DoctorOptions {
  /** The configuration's file, unless LIMB_CONFIG names it. */
  readonly file: string | undefined
  readonly env: Environment
  readonly clock: Clock
  readonly database: DatabaseTools
}

const AS_BRIDGE = "run the doctor as the bridge's user"
const HOUR_MS = 3_600_000
/** The path of no file: none tells of a clock that was set back. */
const CLOCK_ONLY = '/nonexistent'

export async function doctor(options: DoctorOptions): Promise<readonly CheckResult[]> {
  let config: Config
  const results: CheckResult[] = []
  const outside = await checkFromOutside(options.file, options.env)
  if (outside !== undefined) return [...outside, ...checkClock(options.clock.wallMs(), CLOCK_ONLY)]
  try {
    const loaded = loadConfig({ file: options.file, env: options.env })
    config = loaded.config
    results.push(ok('configuration', loaded.file === undefined ? 'the defaults' : `${loaded.file} is sound`))
    results.push(...loaded.warnings.map((text) => warning('configuration', text)))
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.problems.map((each) => problem('configuration', problemText(each)))
  }
  const service = await serviceOf(config.control.socket)
  if (config.store.kind === 'postgres')
    return [...results, ...(await checkOnServer(config, options, service))]
  const checks = [
    async () => (service === undefined ? [] : await checkService(service)),
    () => checkStore(config, options, service),
    () => checkBackups(config, options, service),
    () => checkListeners(config, options, service),
    async () => checkFiles(config, options.clock.wallMs()),
    async () => checkWebhooksOf(config, options),
    async () => checkMachine(config, config.store.path, options, service),
  ]
  for (const check of checks) results.push(...(await safely(check)))
  return results
}

/** Looks at a database on a server: there are no files, and the lock says nothing of this machine. */
async function checkOnServer(
  config: Config,
  options: DoctorOptions,
  service: ServiceState | undefined,
): Promise<readonly CheckResult[]> {
  const found = await options.database.server(config.store)
  const holder = typeof found === 'string' ? undefined : found.holder
  const isActive = service?.service.active === 'active'
  const running = isActive ? 'yes' : holder === undefined ? 'no' : 'unknown'
  const waiting = typeof found === 'string' ? new Map() : found.waiting
  const checks = [
    async () => (service === undefined ? [] : await checkService(service)),
    async () => checkServer(found, config.store.schema),
    () => checkListenersOf(config, running, service),
    async () => checkFiles(config, options.clock.wallMs()),
    async () => checkWebhooks(config.webhooks, waiting, Boolean(options.env.CREDENTIALS_DIRECTORY)),
    async () => checkMachine(config, CLOCK_ONLY, options, service),
  ]
  const results: CheckResult[] = []
  for (const check of checks) results.push(...(await safely(check)))
  return results
}

/** The clock, compared with a file's times, and the number of open files. */
function checkMachine(
  config: Config,
  file: string,
  { clock }: DoctorOptions,
  service: ServiceState | undefined,
): readonly CheckResult[] {
  return [
    ...checkClock(clock.wallMs(), file),
    ...checkOpenFiles(config.mqtt.maxConnections, service?.service.openFiles),
  ]
}

/** Files that the configuration names. What nothing uses may be missing, or old. */
function checkFiles(config: Config, now: number): readonly CheckResult[] {
  const problems = unusableFiles(config)
  const results = problems.map((text) => problem('configuration', text))
  const isReported = problems.some((text) => text.startsWith('tls.certFile:'))
  return usesTls(config) && !isReported
    ? [...results, ...checkCertificates({ tls: config.tls }, now)]
    : results
}

/** Waiting deliveries are counted only in a database that this user may read. */
function checkWebhooksOf(
  { webhooks, store }: Config,
  { database, env }: DoctorOptions,
): readonly CheckResult[] {
  const file = resolve(store.path)
  const isThere = webhooks.length > 0 && store.path !== ':memory:' && lookAt(file) === 'full'
  const waiting = isThere ? database.waitingDeliveries(file) : new Map()
  return checkWebhooks(webhooks, waiting, Boolean(env.CREDENTIALS_DIRECTORY))
}

/** A check that cannot be made is a result too. */
async function safely(check: () => Promise<readonly CheckResult[]>): Promise<readonly CheckResult[]> {
  try {
    return await check()
  } catch (error) {
    return [problem('doctor', `a check failed: ${messageOf(error)}`)]
  }
}

async function checkStore(
  { store, backup }: Config,
  { database }: DoctorOptions,
  service: ServiceState | undefined,
): Promise<readonly CheckResult[]> {
  if (store.path === ':memory:') return [warning('database', 'it is in memory: nothing outlives a restart')]
  const file = resolve(store.path)
  if (service !== undefined && lookAt(file) === 'out of reach') {
    return [warning('database', `not looked at: ${file} is for the service alone; ${AS_ROOT}`)]
  }
  const results = [...checkFolder('folder', dirname(file)), ...checkDisk(file)]
  const there = lookAt(file)
  const held = heldDeleted(file)
  if (held !== undefined) {
    const message = `${file} was removed under a running bridge (process ${held}), which still holds it: do not stop that before \`limb-bridge backup create\`; then stop it, restore that backup, and start it`
    return [...results, problem('database', message)]
  }
  if (there === 'nothing') {
    const missing = database.missing(file, backup.folder)
    if (missing === undefined)
      return [...results, ok('database', `${file} is not there yet; the first start makes it`)]
    return [...results, (missing.refused ? problem : warning)('database', missing.text)]
  }
  if (there === 'out of reach') {
    return [...results, problem('database', `this user may not even look at ${file}; ${AS_BRIDGE}`)]
  }
  results.push(...checkFile('database', file))
  if (there === 'empty') {
    return [...results, ok('database', `${file} is empty; the next start makes it a database`)]
  }
  const { version, nodes, problems, unopened } = database.inspect(file)
  if (problems.length === 0) {
    results.push(ok('database', `${file} is sound: schema ${version}, ${nodes} limbs`))
    return results
  }
  const advice = unopened
    ? `it must be readable, and its folder writable, for the user that runs the bridge, on a disk with room; ${AS_BRIDGE}`
    : 'stop the bridge and restore a backup with `limb-bridge restore FILE`'
  return [...results, ...problems.map((text) => problem('database', `${file}: ${text}; ${advice}`))]
}

async function checkBackups(
  config: Config,
  { database, clock }: DoctorOptions,
  service: ServiceState | undefined,
): Promise<readonly CheckResult[]> {
  const { everyHours, folder } = config.backup
  if (config.store.path === ':memory:') return []
  // Told of the database already.
  if (service !== undefined && lookAt(resolve(config.store.path)) === 'out of reach') return []
  const why = folder === null ? undefined : database.whyNoBackupsIn(resolve(folder))
  if (why !== undefined) return [problem('backup', `none can be made: ${why}`)]
  const newest = await database.newestBackup(config.store.path, folder).catch(messageOf)
  if (typeof newest === 'string') {
    return [problem('backup', `this user cannot see which there are: ${newest}; ${AS_BRIDGE}`)]
  }
  const { folder: where, at } = newest
  if (at === undefined) {
    const advice =
      everyHours === 0 ? 'run `limb-bridge backup create`' : 'the first one is made soon after a start'
    return [warning('backup', `there is none in ${where}; ${advice}`)]
  }
  const late = everyHours > 0 && clock.wallMs() - at > 2 * everyHours * HOUR_MS
  return late
    ? [
        warning(
          'backup',
          `the newest one in ${where} is of ${iso(at)}; the log says why there is no newer one`,
        ),
      ]
    : [ok('backup', `the newest one in ${where} is of ${iso(at)}`)]
}

async function checkListeners(
  config: Config,
  { database }: DoctorOptions,
  service: ServiceState | undefined,
): Promise<readonly CheckResult[]> {
  const { running, result } = bridgeOf(config.store.path, database, service)
  return [...(result === undefined ? [] : [result]), ...(await checkListenersOf(config, running, service))]
}

async function checkListenersOf(
  { mqtt, tls, http, control }: Config,
  running: Running,
  service: ServiceState | undefined,
): Promise<readonly CheckResult[]> {
  const port = async (what: keyof typeof PORT_SOCKETS, host: string, number: number) => {
    const unit = socketUnit(service, what)
    return unit === undefined
      ? await checkPort(what, host, number, running)
      : await checkHeldOpen(what, unit, running)
  }
  return [
    await port('MQTT', mqtt.host, mqtt.port),
    ...(tls.enabled ? [await port('MQTT over TLS', tls.host, tls.port)] : []),
    ...(http.enabled ? [await port('HTTP', http.host, http.port)] : []),
    ...(await controlSocket(control.socket, running, service)),
  ]
}

/** Finds the bridge. The service manager knows better than the lock of a database that not every user may look at. */
function bridgeOf(file: string, database: DatabaseTools, service: ServiceState | undefined) {
  if (service !== undefined && service.service.active === 'active')
    return { running: 'yes', result: undefined } as const
  if (service !== undefined && lookAt(resolve(file)) === 'out of reach')
    return { running: 'no', result: undefined } as const
  return file === ':memory:' ? NONE_RUNS : findBridge(resolve(file), database)
}

/**
 * Checks the control socket. To connect to the socket of a service that does not run starts it: so the doctor does
 * not.
 */
async function controlSocket(
  path: string,
  running: Running,
  service: ServiceState | undefined,
): Promise<readonly CheckResult[]> {
  if (service === undefined || running === 'yes') return [await checkControlSocket(path, running)]
  const failed = service.service.active === 'failed' || service.control?.active !== 'active'
  const what = failed ? 'nobody answers there, see `service`' : 'it starts the bridge for who connects'
  return [ok('control socket', `${path} is held open by systemd; ${what}`)]
}

const NONE_RUNS = { running: 'no', result: ok('bridge', 'no bridge runs on this database') } as const

function findBridge(file: string, database: DatabaseTools): { running: Running; result: CheckResult } {
  try {
    const holder = database.holder(file)
    return holder === undefined
      ? NONE_RUNS
      : { running: 'yes', result: ok('bridge', `a bridge runs (${holder})`) }
  } catch (error) {
    const why = messageOf(error).replace(/\.$/, '')
    const message = `this user cannot tell whether one runs (${why}); ${AS_BRIDGE}`
    return { running: 'unknown', result: problem('bridge', message) }
  }
}
