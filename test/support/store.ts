import type { TestContext } from 'vitest'

/** Which store the bridges of tests have: SQLite, or the server that vitest.postgres.config.ts has started. */

/** The folder of the server's socket; absent: SQLite. */
export const SERVER_FOLDER = 'LIMB_TEST_POSTGRES'

let schemas = 0

/** The settings of a store of its own: `path` is of SQLite, and the place of files on either. */
export function storeOf(path: string): { path: string; kind?: 'postgres'; url?: string; schema?: string } {
  const folder = process.env[SERVER_FOLDER]
  if (folder === undefined) return { path }
  const url = `postgres://limb@localhost/postgres?host=${folder}`
  return { path, kind: 'postgres', url, schema: `app_${process.pid}_${schemas++}` }
}

/** How the note of a test begins that the run on PostgreSQL leaves out (test/support/skipped-reporter.ts). */
export const OF_SQLITE = 'is about the file of SQLite'

/** Skips one test that a server cannot pass, because there is no file. */
export function skipOnPostgres(context: Pick<TestContext, 'skip'>): void {
  if (onPostgres) context.skip(OF_SQLITE)
}

export const onPostgres = process.env[SERVER_FOLDER] !== undefined

/** Questions to the server that it has not answered, of all connections of this process. */
let open = 0

if (onPostgres) {
  const { default: pg } = await import('pg')
  const ask = pg.Client.prototype.query as (...args: unknown[]) => Promise<unknown>
  const counted = function (this: unknown, ...args: unknown[]): Promise<unknown> {
    const answer = ask.apply(this, args)
    open++
    const over = () => {
      open--
    }
    Promise.resolve(answer).then(over, over)
    return answer
  }
  pg.Client.prototype.query = counted as typeof pg.Client.prototype.query
}

/** Turns of the event loop that a bridge may need between two questions. */
const QUIET_TURNS = 10

/**
 * Resolves when what the bridge of this process has begun waits for no server: what was sent to it has taken its place
 * then, in a queue or wherever. SQLite answers in the same turn.
 */
export async function storeQuiet(): Promise<void> {
  if (!onPostgres) return
  for (let quiet = 0; quiet < QUIET_TURNS; quiet = open === 0 ? quiet + 1 : 0)
    await new Promise((resolve) => setImmediate(resolve))
}
