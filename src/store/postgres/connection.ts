import pg from 'pg'
import type { SqlRow } from '../rows.ts'
import type { Server } from './server.ts'
import { fromStored, toStored } from './texts.ts'

/** A value of a statement; a text is stored as `texts.ts` says. */
export type Value = string | number | boolean | Uint8Array | readonly string[] | readonly number[] | null

/** Asks the server. Every statement is prepared once a connection, under the number of its text. */
export interface Sql {
  all(text: string, ...values: readonly Value[]): Promise<SqlRow[]>
  /** Resolves to the number of rows that were changed. */
  run(text: string, ...values: readonly Value[]): Promise<number>
}

export interface PostgresServerOptions {
  /** Says what `pg` needs to find the server and to sign in; a function is asked at each connection. */
  readonly server: Server | (() => Server)
  /** The schema of PostgreSQL that the tables are in. */
  readonly schema: string
}

/** A connection is given up when it is not made in this time. */
const CONNECT_MS = 5000
/** An answer that takes longer is of a server that is gone or frozen; the connection is closed. */
const ANSWER_MS = 15_000
/** The server ends a transaction of a bridge that says nothing for so long. */
const IDLE_MS = 8000

const TYPES = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    if (oid === pg.types.builtins.INT8 || oid === pg.types.builtins.NUMERIC) return Number
    if (oid === pg.types.builtins.TEXT) return fromStored
    return pg.types.getTypeParser(oid, format as never)
  },
} as pg.CustomTypesConfig

/** The server said of a transaction that it has undone it: there is no doubt. */
export class CommitUndone extends Error {}

/** One connection. Statements are answered in the order in which they were asked, several at a time on the way. */
export class PostgresConnection implements Sql {
  readonly #client: pg.Client
  readonly #names: Map<string, string> = new Map()
  #failed = false
  #corked = false
  /** Called when the server, or the way to it, has ended the connection. */
  onEnd: () => void = () => {}

  private constructor(client: pg.Client) {
    this.#client = client
    // Without a listener the end of the server would be the end of the process.
    client.on('error', () => this.#ended())
    client.on('end', () => this.#ended())
  }

  /** `idleMs`: the server ends the session when it says nothing for so long; 0: never. */
  static async open({ server, schema }: PostgresServerOptions, idleMs = 0): Promise<PostgresConnection> {
    const client = new pg.Client({
      ...(typeof server === 'function' ? server() : server),
      application_name: 'limb-bridge',
      connectionTimeoutMillis: CONNECT_MS,
      query_timeout: ANSWER_MS,
      keepAlive: true,
      types: TYPES,
      pipeline: true,
    } as pg.ClientConfig)
    const connection = new PostgresConnection(client)
    try {
      await client.connect()
      // Said after the connection stands: a pooler would refuse, or forget, what comes as an option of it.
      await connection.script(
        `SET idle_session_timeout = ${idleMs}; SET idle_in_transaction_session_timeout = ${IDLE_MS}; ` +
          `SET search_path = ${quoted(schema)}; SET TimeZone = 'UTC'; SET bytea_output = 'hex'`,
      )
    } catch (error) {
      await connection.close()
      throw error
    }
    return connection
  }

  /** Listens to what the server tells on a channel, until the connection ends. */
  async listen(channel: string, heard: (told: string) => void): Promise<void> {
    this.#client.on('notification', ({ payload }) => heard(payload ?? ''))
    await this.script(`LISTEN ${quoted(channel)}`)
  }

  /** It was closed, by whoever; a new one has to be opened. */
  get failed(): boolean {
    return this.#failed
  }

  async all(text: string, ...values: readonly Value[]): Promise<SqlRow[]> {
    return (await this.#query(text, values)).rows as SqlRow[]
  }

  async run(text: string, ...values: readonly Value[]): Promise<number> {
    return (await this.#query(text, values)).rowCount ?? 0
  }

  /** Several statements without values. */
  async script(text: string): Promise<void> {
    this.#cork()
    await this.#client.query(text)
  }

  /** Ends a transaction. Rejects when the server has undone it instead, as it does after a statement that failed. */
  async commit(): Promise<void> {
    const { command } = await this.#query('COMMIT', [])
    if (command !== 'COMMIT') throw new CommitUndone(`The server answered COMMIT with ${command}`)
  }

  #ended(): void {
    if (this.#failed) return
    this.#failed = true
    this.onEnd()
  }

  async close(): Promise<void> {
    this.#failed = true
    await this.#client.end().catch(() => undefined)
  }

  #query(text: string, values: readonly Value[]): Promise<pg.QueryResult> {
    if (this.#failed) return Promise.reject(new Error('Connection terminated'))
    let name = this.#names.get(text)
    if (name === undefined) {
      name = `s${this.#names.size}`
      this.#names.set(text, name)
    }
    this.#cork()
    return this.#client.query({ name, text, values: values.map(asSent) })
  }

  /** Sends all that is asked in one turn in one write. */
  #cork(): void {
    if (this.#corked) return
    this.#corked = true
    const { stream } = this.#client.connection
    stream.cork()
    process.nextTick(() => {
      this.#corked = false
      stream.uncork()
    })
  }
}

/** A name in quotes: `user` and `table` are names of schemas too. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

function asSent(value: Value): unknown {
  if (typeof value === 'string') return toStored(value)
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (Array.isArray(value)) return value.map((each) => (typeof each === 'string' ? toStored(each) : each))
  return value
}
