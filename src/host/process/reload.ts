import { messageOf } from '../../kernel/errors.ts'
import type { Config, LoadedConfig } from '../config/config.ts'
import { type Change, changeOf } from '../config/live-settings.ts'
import { ConfigError, problemText } from '../config/problems.ts'
import type { HostLog } from '../log/log.ts'
import type { ServiceManager } from '../systemd/notify.ts'

/** Takes over what changed in the configuration file while the bridge runs. No session is dropped. */
export interface ReloadOptions {
  /** The configuration that holds since the start. */
  readonly config: Config
  /** Throws ConfigError, and nothing changes. */
  readonly load: () => LoadedConfig
  /** Makes the running bridge hold the live settings, and read again what files they name. */
  readonly apply: (config: Config) => Promise<void> | void
  readonly manager: ServiceManager
  readonly status: () => string
  readonly log: HostLog
}

export interface Reloader {
  /** One at a time; those asked for meanwhile are one more. Never rejects. */
  reload(): Promise<void>
}

export function reloader(options: ReloadOptions): Reloader {
  let current = options.config
  let running: Promise<void> | undefined
  let again = false

  const run = async () => {
    do {
      again = false
      await options.manager.reloading()
      current = await once(options, current)
      await options.manager.ready(options.status())
    } while (again)
    running = undefined
  }
  return {
    reload() {
      if (running) again = true
      running ??= run()
      return running
    },
  }
}

async function once({ load, apply, log }: ReloadOptions, current: Config): Promise<Config> {
  try {
    const { config: next, warnings } = load()
    for (const warning of warnings) log.warn({}, warning)
    const change = changeOf(current, next)
    await apply(change.config)
    report(log, change)
    return change.config
  } catch (error) {
    if (error instanceof ConfigError) {
      for (const problem of error.problems) log.error({}, `reload: ${problemText(problem)}`)
      log.error({}, 'nothing was reloaded: the configuration has mistakes; what held before still holds')
    } else {
      log.error({ err: error }, `the reload failed: ${messageOf(error)}`)
    }
    return current
  }
}

function report(log: HostLog, { live, restart }: Change): void {
  log.info({ changed: live }, live.length === 0 ? 'reloaded; no live setting changed' : 'reloaded')
  if (restart.length > 0) log.warn({ restart }, `these settings need a restart: ${restart.join(', ')}`)
}
