import { defineConfig } from 'vitest/config'
import config from './vitest.config.ts'

/** `npm run test:postgres`: the application suite with PostgreSQL as the store of each bridge. */
export default defineConfig({
  test: {
    ...config.test,
    include: ['test/app/**/*.test.ts'],
    globalSetup: ['test/support/postgres-setup.ts'],
    outputFile: { json: '.test-results/postgres.json' },
  },
})
