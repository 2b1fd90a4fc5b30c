import { defineConfig } from 'vitest/config'

/** Programs that nobody here wrote, which start slowly: one file at a time, in no hurry, with an end. */
export default defineConfig({
  test: {
    include: ['test/ecosystem/**/*.suite.ts'],
    pool: 'forks',
    maxWorkers: 1,
    testTimeout: 240_000,
    hookTimeout: 240_000,
    reporters: ['default', 'json'],
    outputFile: { json: '.test-results/ecosystem.json' },
  },
})
