import pg from 'pg'
import { messageOf, Refusal } from '../../kernel/errors.ts'

/**
 * The classes of SQLSTATE that say that the server cannot do it now: connection, resources, intervention of an operator
 * (a shutdown, a failover), its own disk; and a server that only reads, as one that was the primary a moment ago.
 */
const STORAGE_STATES = /^(08|53|57|58|XX|25006|25P0[34]|55P03|40001|40P01)/

/** Returns whether the server or the way to it failed, as opposed to a statement that was wrong for its data. */
export function isStorageFailure(error: unknown): boolean {
  if (error instanceof Refusal) return false
  if (error instanceof pg.DatabaseError) return STORAGE_STATES.test(error.code ?? 'XX')
  // What is no answer of the server is a failure of the connection: pg tells it by its own words or by Node's codes.
  return error instanceof Error && (isOfNode(error) || OF_PG.test(error.message))
}

const OF_PG =
  /^(Connection terminated|Client (has encountered|was closed|has already)|Query read timeout|timeout e|The server|not queryable)/i

function isOfNode(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException
  return typeof code === 'string' && /^(E[A-Z]+|ERR_(TLS|SSL|SOCKET)\w*|CERT_\w+|\w*CERT\w*)$/.test(code)
}

export function unavailable(reason: string): Refusal {
  return new Refusal(
    'storage_unavailable',
    `the database cannot store it now: ${reason}; nothing was changed, try again later`,
  )
}

/** Words for the log and for `/readyz`; nothing in them is of the address or the password. */
export function reasonOf(error: unknown): string {
  const code = (error as { code?: unknown }).code
  const words =
    error instanceof pg.DatabaseError
      ? error.message
      : messageOf(error).replaceAll(/\S+:\/\/\S+/g, 'the server')
  return `${words} (${typeof code === 'string' ? code : 'no code'})`
}
