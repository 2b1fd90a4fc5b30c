import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Real sockets, real files and child processes: a file is a world of its own.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // .ci/run counts from the file.
    reporters: ['default', 'json', './test/support/skipped-reporter.ts'],
    // Debian keeps brokers where the PATH of other users than root does not look.
    env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    outputFile: { json: '.test-results/vitest.json' },
  },
})
