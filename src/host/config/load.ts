import { type LoadedConfig, resolveConfig } from './config.ts'
import type { Environment } from './env.ts'
import { readConfigFile } from './file.ts'

export interface LoadOptions {
  /** Wins over LIMB_CONFIG. Without either, the defaults hold. */
  readonly file?: string | undefined
  readonly env: Environment
}

/** Reads the file that is named and resolves it. Throws ConfigError with every problem that was found. */
export function loadConfig(options: LoadOptions): LoadedConfig {
  const fileName = options.file ?? (options.env.LIMB_CONFIG || undefined)
  const file = fileName === undefined ? undefined : readConfigFile(fileName)
  return resolveConfig(file, options.env)
}
