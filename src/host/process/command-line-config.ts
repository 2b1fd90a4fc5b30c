import { ConfigError, type LoadedConfig, resolveConfig } from '../config/config.ts'
import type { Environment } from '../config/env.ts'
import { problemText } from '../config/problems.ts'

/**
 * Gives the command line the configuration: a mistake is a value. Most commands look for a socket only, so that what reads
 * a file and what shows the settings is loaded when it is needed.
 */
export const configuration = {
  async load(file: string | undefined, env: Environment) {
    try {
      const loaded = await resolved(file, env)
      return { ok: true as const, config: loaded.config, show: () => shown(loaded) }
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      return { ok: false as const, problems: error.problems.map(problemText) }
    }
  },
}

async function resolved(file: string | undefined, env: Environment): Promise<LoadedConfig> {
  if (file === undefined && !env.LIMB_CONFIG) return resolveConfig(undefined, env)
  const { loadConfig } = await import('../config/load.ts')
  return loadConfig({ file, env })
}

async function shown(loaded: LoadedConfig) {
  const { configText, shownSettings } = await import('../config/show.ts')
  const { unusableFiles } = await import('../tls/certificate-files.ts')
  return {
    warnings: [...loaded.warnings, ...unusableFiles(loaded.config)],
    settings: shownSettings(loaded),
    text: configText(loaded),
  }
}
