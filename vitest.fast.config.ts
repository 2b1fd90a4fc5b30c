import { defineConfig, mergeConfig } from 'vitest/config'
import config from './vitest.config.ts'

/** `npm run test:fast`: everything but what takes minutes, or root. */
const SLOW = ['crash', 'soak', 'fuzz', 'bench', 'package', 'systemd', 'console']

export default mergeConfig(
  config,
  defineConfig({ test: { exclude: ['node_modules/**', ...SLOW.map((folder) => `test/${folder}/**`)] } }),
)
