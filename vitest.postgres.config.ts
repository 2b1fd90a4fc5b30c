import { defineConfig } from 'vitest/config'
import config from './vitest.config.ts'

/** Tests of SQLite itself: its file is filled behind the bridge's back, and the turns in which it answers are measured. */
const SQLITE_ALONE = ['test/app/verbs/event-loop.test.ts']

/** Tests that choose PostgreSQL themselves, and run with all others. */
const WITH_A_SERVER = ['pair', 'postgres', 'postgres-tls'].map((name) => `test/app/lifetime/${name}.test.ts`)

/** `npm run test:postgres`: the application suite with PostgreSQL as the store of each bridge. */
export default defineConfig({
  test: {
    ...config.test,
    include: ['test/app/**/*.test.ts'],
    exclude: ['node_modules/**', ...SQLITE_ALONE, ...WITH_A_SERVER],
    globalSetup: ['test/support/postgres-setup.ts'],
    outputFile: { json: '.test-results/postgres.json' },
  },
})
