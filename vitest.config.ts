import { defineConfig } from 'vitest/config'
import { patience } from './test/support/patience.ts'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Real sockets, real files and child processes: a file is a world of its own.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: patience(30_000),
    hookTimeout: patience(30_000),
    expect: { poll: { timeout: patience(5000) } },
    // .ci/run counts from the file.
    reporters: ['default', 'json', './test/support/skipped-reporter.ts'],
    // Debian keeps brokers where the PATH of other users than root does not look.
    env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    outputFile: { json: '.test-results/vitest.json' },
  },
})
