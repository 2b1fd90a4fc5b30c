import { readFileSync } from 'node:fs'
import { runCommandLine } from './cli/command-line.ts'
import type {
  ConfigurationTools,
  DeviceCheckOptions,
  DeviceCheckOutcome,
  Maintenance,
} from './cli/context.ts'

/**
 * Arguments in, exit code out. `serve` runs until a signal; every other command is a client. What only one of them
 * needs (the bridge itself, the configuration, the doctor) is loaded when it is needed: a client should answer at once.
 */

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string
}

async function serve(options: { configFile?: string; acceptOlder?: boolean }): Promise<number> {
  const bridge = await import('./serve.ts')
  return bridge.serve({ ...options, version })
}

const configuration: ConfigurationTools = {
  async load(file, env) {
    const tools = await import('./host/process/command-line-config.ts')
    return tools.configuration.load(file, env)
  },
}

const maintenance: Maintenance = {
  async restore(from, to) {
    const tools = await import('./assembly/maintenance.ts')
    return tools.maintenance.restore(from, to)
  },
  async doctor(file) {
    const tools = await import('./assembly/maintenance.ts')
    return tools.maintenance.doctor(file)
  },
  async initTls(folder, names) {
    const tools = await import('./assembly/maintenance.ts')
    return tools.maintenance.initTls(folder, names)
  },
  async copyStore(request) {
    const tools = await import('./assembly/store-copy.ts')
    return tools.copyStores(request)
  },
}

async function checkDevice(options: DeviceCheckOptions): Promise<DeviceCheckOutcome> {
  const tool = await import('./device-check/device-check.ts')
  return tool.checkDevice(options)
}

process.exitCode = await runCommandLine(process.argv.slice(2), {
  serve,
  configuration,
  maintenance,
  checkDevice,
  version,
})
if (process.exitCode !== 0) process.exit()
