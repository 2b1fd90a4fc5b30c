import { networkInterfaces } from 'node:os'
import type { RunningBridge } from './assembly/options.ts'
import { type Config, ConfigError } from './host/config/config.ts'
import { loadConfig } from './host/config/load.ts'
import { problemText } from './host/config/problems.ts'
import type { HostLog } from './host/log/log.ts'
import { giveBackAtRest } from './host/process/memory-at-rest.ts'
import { reloader } from './host/process/reload.ts'
import { handleSignals, ignoreUserSignals } from './host/process/signals.ts'
import { type Inherited, refuseWaiting, takeInherited } from './host/systemd/activation.ts'
import { credential } from './host/systemd/credentials.ts'
import { type ServiceManager, serviceManager } from './host/systemd/notify.ts'
import { startLimitSeconds } from './host/systemd/start-limit.ts'
import { startWatchdog } from './host/systemd/watchdog.ts'
import { hostAndPort } from './kernel/address.ts'
import { systemClock } from './kernel/clock.ts'
import { MisconfiguredError, messageOf, StartError } from './kernel/errors.ts'
import { machineClock } from './kernel/machine-clock.ts'
import { standstillClock } from './kernel/standstill.ts'

/** The bridge as a process: configuration, log, service manager, signals, from the start to the signal that ends it. */

/** The log before there is one: it says nothing of a service manager that does not listen. */
const noLog = { debug() {}, info() {}, warn() {}, error() {} }

/** EX_CONFIG of sysexits.h: starting again will not help. */
const EXIT_CONFIG = 78
const EXIT_FAILED = 1
/** This bridge has the database no more: starting again is right, and waits for who has it. */
const EXIT_OVERTAKEN = 3
/** The server ends the session of who says nothing for 8 s, and the bridge says something every 2 s. */
const STOOD_MS = 5000

export interface ServeOptions {
  readonly configFile?: string
  readonly acceptOlder?: boolean
  readonly version: string
}

/** Runs the bridge until a signal; resolves with an exit code only when it cannot start. */
export async function serve({ configFile, acceptOlder = false, version }: ServeOptions): Promise<number> {
  ignoreUserSignals()
  let loaded: ReturnType<typeof loadConfig>
  try {
    loaded = loadConfig({ file: configFile, env: process.env })
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return await misconfigured(error)
  }
  const { config, warnings } = loaded
  // After the configuration: a mistake in it is told before anything else is loaded.
  const { writesToJournal } = await import('./host/log/journal.ts')
  const { createLog } = await import('./host/log/log.ts')
  const log = createLog({ ...config.log, journal: writesToJournal(process.env) })
  for (const warning of warnings) log.warn({}, warning)

  const { env, pid } = process
  const inherited = takeInherited(env, pid)
  const manager = serviceManager({ env, log, clock: systemClock })
  let bridge: RunningBridge
  const standstill = config.store.kind === 'postgres' ? standstillClock(machineClock()) : undefined
  const waiting = new Waiting(log, manager)
  try {
    const { startBridge } = await import('./app.ts')
    await manager.extend(startLimitSeconds(config.store.path))
    const adminPassword = credential(env, 'admin-password')
    bridge = await startBridge({
      config,
      acceptOlder,
      log,
      clock: standstill?.clock ?? machineClock(),
      version,
      inherited,
      adminPassword,
      onStandby: (text) => waiting.told(text),
    })
    waiting.end()
  } catch (error) {
    return await cannotStart(log, manager, inherited, error)
  }
  giveBackAtRest(systemClock)
  standstill?.arm(STOOD_MS, (stoodMs) =>
    overtaken(log, `this process stood still for ${Math.round(stoodMs / 1000)} s, and may not lead any more`),
  )
  await live({ configFile, config, log, manager, bridge, version })
  // The listeners keep the process alive; a signal ends it.
  return await new Promise<number>(() => undefined)
}

/** A standby as a process: the service manager is told that it is up, and a signal ends it. */
class Waiting {
  readonly #log: HostLog
  readonly #manager: ServiceManager
  #text = ''
  #end: (() => void) | undefined

  constructor(log: HostLog, manager: ServiceManager) {
    this.#log = log
    this.#manager = manager
  }

  told(text: string): void {
    this.#text = text
    this.#end ??= this.#begin()
    void this.#manager.status(text)
  }

  end(): void {
    this.#end?.()
  }

  #begin(): () => void {
    const [log, manager, clock] = [this.#log, this.#manager, systemClock]
    const { env, pid } = process
    void manager.ready(this.#text)
    const stopWatchdog = startWatchdog({
      manager,
      env,
      pid,
      // It has the database of nobody yet: that it comes to ask is all there is to be seen.
      probe: async () => {},
      status: () => this.#text,
      clock,
      log,
    })
    // It has told nobody anything, and holds nothing that another one would miss.
    const takeOff = handleSignals({
      log,
      clock,
      // A terminal that closes says SIGHUP too, and means the end.
      ...(process.stdin.isTTY !== true && {
        reload: async () => log.info({}, 'a standby reads its configuration when it is started again'),
      }),
      stop: async () => await manager.stopping(),
    })
    return () => {
      stopWatchdog()
      takeOff()
    }
  }
}

/** Says each mistake on standard error: there is no log yet. */
async function misconfigured({ problems }: ConfigError): Promise<number> {
  const { writesToJournal, withPriority } = await import('./host/log/journal.ts')
  const { env } = process
  const toJournal = writesToJournal(env, 2)
  for (const problem of problems) {
    const line = `limb-bridge: ${problemText(problem)}\n`
    process.stderr.write(toJournal ? withPriority(line, 'fatal') : line)
  }
  const [first] = problems
  if (first !== undefined) {
    await serviceManager({ env, log: noLog, clock: systemClock }).failed(problemText(first))
  }
  await refuseWaiting(takeInherited(env, process.pid))
  return EXIT_CONFIG
}

/** Logs why the bridge cannot start: once, in words, if it was foreseen; else with all there is to find its cause. */
async function cannotStart(
  log: HostLog,
  manager: ServiceManager,
  inherited: Inherited,
  error: unknown,
): Promise<number> {
  const foreseen = error instanceof StartError
  await manager.failed(`cannot start: ${messageOf(error)}`)
  log.fatal(foreseen ? {} : { err: error }, `cannot start: ${messageOf(error)}`)
  if (foreseen) log.debug({ err: error }, 'where that was found')
  if (!(error instanceof MisconfiguredError)) return EXIT_FAILED
  await refuseWaiting(inherited)
  return EXIT_CONFIG
}

/** Ends without a word to anybody: who is connected here belongs to another bridge now. */
function overtaken(log: HostLog, why: string): never {
  log.fatal({}, `${why}: this one ends`)
  process.exit(EXIT_OVERTAKEN)
}

interface Living {
  readonly configFile: string | undefined
  readonly config: Config
  readonly log: HostLog
  readonly manager: ServiceManager
  readonly bridge: RunningBridge
  readonly version: string
}

/** Runs from the open listeners to the signal that ends it all. */
async function live({ configFile, config, log, manager, bridge, version }: Living): Promise<void> {
  const { env, pid } = process
  const status = () => bridge.status()
  const probe = () => bridge.probe()
  const stopWatchdog = startWatchdog({ manager, env, pid, probe, status, clock: systemClock, log })
  void bridge.lost.then((why) => overtaken(log, why))
  const { reload } = reloader({
    config,
    load: () => loadConfig({ file: configFile, env }),
    apply: async (changed) => {
      bridge.apply(changed)
      await bridge.reloadCertificates()
    },
    manager,
    status,
    log,
  })
  handleSignals({
    log,
    clock: systemClock,
    // A terminal that closes says SIGHUP too, and means the end.
    ...(process.stdin.isTTY !== true && { reload }),
    stop: async () => {
      stopWatchdog()
      // Told while it happens: the service manager's answer is nothing to wait for.
      const notified = manager.stopping()
      await bridge.stop()
      await notified
      manager.close()
      log.info({}, 'stopped')
    },
  })
  welcome(log, bridge, version)
  const { firstStart, replacesLost } = bridge.adminPassword
  if (firstStart && !replacesLost && process.stdout.isTTY === true) firstSteps(log)
  bridge.adminPassword.welcomed()
  await manager.ready(status())
}

/** Prints what a newcomer needs, and one line for programs. */
function welcome(
  log: HostLog,
  { mqtt, tls, http, control, adminPassword, firstStartSecret }: RunningBridge,
  version: string,
): void {
  log.info({ mqtt, ...(tls && { tls }), http: http ?? null, control, version }, 'ready')
  log.info({}, `MQTT on ${hostAndPort(mqtt)}, local administration on ${control}`)
  if (tls) log.info({}, `MQTT over TLS on ${hostAndPort(tls)}`)
  if (http)
    log.info(
      {},
      `HTTP on ${http.scheme}://${hostAndPort(http)}: /healthz, /readyz, /metrics, the API below /api/v1/, MQTT over WebSocket at /mqtt, and the console at /`,
    )
  if (http && firstStartSecret !== undefined) {
    log.info(
      {},
      `first start: within ten minutes, open ${consoleUrl(http)}#/first-start/${firstStartSecret} to choose the password of admin and connect a first device (the link works once)`,
    )
  }
  const first = !adminPassword.firstStart
    ? ''
    : adminPassword.replacesLost
      ? 'in place of the database that is gone: '
      : 'first start: '
  const whose = `${first}the password of the principal admin is`
  if (adminPassword.inFile) {
    const then = adminPassword.firstStart ? '' : '; delete that file when you need it no more'
    log.info({}, `${whose} in ${adminPassword.file}${then}`)
  } else if (adminPassword.firstStart) log.info({}, `${whose} the one that was given`)
  if (adminPassword.isStale)
    log.warn({}, `${adminPassword.file} holds a password that is no longer that of admin: delete the file`)
}

/** Returns an address that a person can open: of every interface, that of the network. */
function consoleUrl({ scheme, host, port }: NonNullable<RunningBridge['http']>): string {
  const everywhere = host === '0.0.0.0' || host === '::'
  const address = everywhere ? (networkAddress() ?? '127.0.0.1') : host
  return `${scheme}://${hostAndPort({ host: address, port })}/`
}

function networkAddress(): string | undefined {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  return all.find(({ internal, family }) => !internal && family === 'IPv4')?.address
}

/** Prints first steps for the person who tries it out; a service has nobody who reads this. */
function firstSteps(log: HostLog): void {
  const installed = process.env.npm_execpath === undefined && !import.meta.url.endsWith('.ts')
  const command = installed ? 'limb-bridge' : './limb-bridge'
  log.info({}, `next: ${command} simulate --nodes 5, then ${command} pairing approve, then ${command} watch`)
}
