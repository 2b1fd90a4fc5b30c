import { afterAll, beforeAll } from 'vitest'
import { lacking, needs } from './needs.ts'
import { type PostgresServer, startPostgres } from './postgres.ts'

/** Servers take their time to begin on a busy machine. */
const START_MS = 180_000

/**
 * Starts one server for the tests of the file or `describe` that calls it, and ends it behind them. Without PostgreSQL those tests are
 * skipped by name, and in CI they fail.
 */
export function onePostgres(): PostgresServer {
  needs('postgresql')
  let running: PostgresServer | undefined
  const there = (): PostgresServer => {
    if (running === undefined) throw new Error('the server is there when the tests begin')
    return running
  }
  beforeAll(() => {
    if (lacking('postgresql') === undefined) running = startPostgres()
  }, START_MS)
  afterAll(() => running?.stop())
  return {
    get server() {
      return there().server
    },
    kill: () => there().kill(),
    follow: () => there().follow(),
    start: () => there().start(),
    stop: () => there().stop(),
  }
}
