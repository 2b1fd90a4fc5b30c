import { startPostgres } from './postgres.ts'
import { SERVER_FOLDER } from './store.ts'

/** One server for a whole run: each bridge of a test has a schema of its own there. */
export default function setup(): () => void {
  const { server, stop } = startPostgres()
  process.env[SERVER_FOLDER] = server.host
  return stop
}
