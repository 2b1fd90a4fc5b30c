import { defineConfig } from 'vitest/config'

/** Only in the box: these tests install packages and kill services. */
export default defineConfig({
  test: {
    root: '/project',
    include: ['test/systemd/**/*.suite.ts'],
    pool: 'forks',
    maxWorkers: 1,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['verbose', 'json'],
    outputFile: { json: '/out/systemd.json' },
  },
})
