import { ConfigError, loadConfig } from '../config/config.ts'
import type { Environment } from '../config/env.ts'
import { problemText } from '../config/problems.ts'
import { configText, shownSettings } from '../config/show.ts'
import { missingFiles } from '../tls/certificate-files.ts'

/** The configuration as the command line wants it: a mistake is a value, and what is shown is ready. */
export const configuration = {
  load(file: string | undefined, env: Environment) {
    try {
      const loaded = loadConfig({ file, env })
      return {
        ok: true as const,
        config: loaded.config,
        warnings: [...loaded.warnings, ...missingFiles(loaded.config)],
        settings: shownSettings(loaded),
        text: configText(loaded),
      }
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      return { ok: false as const, problems: error.problems.map(problemText) }
    }
  },
}
