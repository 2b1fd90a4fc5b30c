import { existsSync, readFileSync } from 'node:fs'
import { type RunningBridge, startBridge } from './app.ts'
import { runCommandLine } from './cli/command-line.ts'
import type { Maintenance } from './cli/parts.ts'
import { configuration } from './host/command-line-config.ts'
import { ConfigError, loadConfig } from './host/config.ts'
import { problemText } from './host/config-problems.ts'
import { type DatabaseTools, doctor } from './host/doctor.ts'
import { createLog, type HostLog } from './host/log.ts'
import { handleSignals } from './host/signals.ts'
import { systemClock } from './kernel/clock.ts'
import { messageOf } from './kernel/errors.ts'
import { backupFolder, newestBackupIn } from './store/backups.ts'
import { StoreError } from './store/errors.ts'
import { inspectDatabase } from './store/inspect.ts'
import { holderOf, restoreDatabase } from './store/restore.ts'

/** Arguments in, exit code out. `serve` runs until a signal; every other command is a client. */

/** EX_CONFIG of sysexits.h: starting again will not help. */
const EXIT_CONFIG = 78
const EXIT_FAILED = 1

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string
}

async function serve({ configFile }: { configFile?: string }): Promise<number> {
  let loaded: ReturnType<typeof loadConfig>
  try {
    loaded = loadConfig({ file: configFile, env: process.env })
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const problem of error.problems) process.stderr.write(`limb-bridge: ${problemText(problem)}\n`)
    return EXIT_CONFIG
  }
  const { config, warnings } = loaded
  const log = createLog(config.log)
  for (const warning of warnings) log.warn({}, warning)

  let bridge: RunningBridge
  try {
    bridge = await startBridge({ config, log, clock: systemClock, version })
  } catch (error) {
    log.fatal({ err: error }, `cannot start: ${messageOf(error)}`)
    return EXIT_FAILED
  }
  handleSignals({
    log,
    clock: systemClock,
    stop: async () => {
      await bridge.stop()
      log.info({}, 'stopped')
    },
  })
  welcome(log, bridge)
  // The listeners keep the process alive; a signal ends it.
  return await new Promise<number>(() => undefined)
}

/** What a newcomer needs, and one line for programs. */
function welcome(log: HostLog, { mqtt, tls, http, control, adminPassword }: RunningBridge): void {
  log.info({ mqtt, ...(tls && { tls }), http, control, version }, 'ready')
  log.info({}, `MQTT on ${mqtt.host}:${mqtt.port}, local administration on ${control}`)
  if (tls) log.info({}, `MQTT over TLS on ${tls.host}:${tls.port}`)
  if (http)
    log.info(
      {},
      `HTTP on ${http.scheme}://${http.host}:${http.port}: /healthz, /readyz, /metrics, and MQTT over WebSocket at /mqtt`,
    )
  if (adminPassword.firstStart)
    log.info({}, `first start: the password of the principal admin is in ${adminPassword.file}`)
  log.info(
    {},
    'next: npx limb-bridge simulate --nodes 5, then npx limb-bridge pairing approve, then npx limb-bridge watch',
  )
}

const databaseTools: DatabaseTools = {
  exists: existsSync,
  inspect: (file) => inspectDatabase(file, { readonly: true }),
  holder: (file) => holderOf(file, systemClock.wallMs()),
  async newestBackup(file, chosen) {
    const folder = backupFolder(file, chosen)
    return { folder, at: await newestBackupIn(folder) }
  },
}

const maintenance: Maintenance = {
  async restore(from, to) {
    try {
      return { ok: true, ...restoreDatabase({ from, to, now: systemClock.wallMs() }) }
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      return { ok: false, reason: error.message }
    }
  },
  doctor: (file) => doctor({ file, env: process.env, clock: systemClock, database: databaseTools }),
}

process.exitCode = await runCommandLine(process.argv.slice(2), { serve, configuration, maintenance, version })
if (process.exitCode !== 0) process.exit()
