import pg from 'pg'
import { messageOf, Refusal, StartError } from '../../kernel/errors.ts'
import { StoreError } from '../errors.ts'

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

/** Returns whether the server is there and answers, but has no room for it: its disk, its memory. No other one takes over then. */
export function isFull(error: unknown): boolean {
  return error instanceof pg.DatabaseError && /^(53|58)/.test(error.code ?? '')
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

/**
 * Words for everybody, strangers at `/readyz` and in a refused sign-in too: the code is in them, and nothing of the
 * server's address, its users or the files of this machine. `detailOf` is for the log.
 */
export function reasonOf(error: unknown): string {
  // Words of our own: another bridge has the database, the schema is newer.
  if (error instanceof Refusal || error instanceof StoreError) return error.message
  const { code } = error as { code?: unknown }
  const shown = typeof code === 'string' ? ` (${code})` : ''
  return error instanceof pg.DatabaseError
    ? `the server refuses it${shown}`
    : `the connection to the server failed${shown}`
}

/** All that is known, for the log and for who starts the bridge; without URLs. */
export function detailOf(error: unknown): string {
  return messageOf(error).replaceAll(/\S+:\/\/\S+/g, 'the server')
}

/** Refuses a read that failed: who signs in is told to come again, and it never looks like a wrong password. */
export function readRefused(error: unknown): never {
  // A row that cannot be understood, and refusals of the work itself.
  if (error instanceof Refusal || error instanceof StartError) throw error
  if (!(error instanceof pg.DatabaseError) && !isStorageFailure(error)) throw error
  const text = `the database cannot be read now: ${reasonOf(error)}; try again later`
  throw new Refusal('storage_unavailable', text)
}

/** Refuses what needs a connection that there cannot be, whatever keeps it from being made. */
export function unreachable(error: unknown): never {
  throw new Refusal(
    'storage_unavailable',
    `the database cannot be reached now: ${reasonOf(error)}; try again later`,
  )
}

/** Advice for an operator whose server does not let the bridge in, by SQLSTATE or its class. */
const ADVICE: Readonly<Record<string, string>> = {
  '28': 'look at the user name in store.url and at store.passwordFile',
  '3D': 'make the database (CREATE DATABASE), or correct its name in store.url',
  '42501':
    'the user of store.url must own the schema of store.schema, or be allowed to make one (GRANT CREATE ON DATABASE)',
  '53300': 'the server takes no more connections (max_connections); the bridge needs three',
}

/** Says in one line why the bridge cannot begin with this server. */
export function cannotLead(error: unknown): unknown {
  if (error instanceof StartError) return error
  const code = String((error as { code?: unknown }).code ?? '')
  const advice = ADVICE[code] ?? ADVICE[code.slice(0, 2)] ?? 'look at store.url, and whether the server runs'
  const detail = detailOf(error)
  const shown = detail.includes(code) ? '' : ` (${code})`
  return new StoreError(`The PostgreSQL server of store.url cannot be used: ${detail}${shown}; ${advice}.`, {
    cause: error,
  })
}
