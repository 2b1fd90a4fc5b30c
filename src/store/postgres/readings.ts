import type { StoreReadings } from '../engine.ts'
import type { PostgresDatabase } from './database.ts'

type Asked = Pick<StoreReadings, 'databaseBytes' | 'auditRows' | 'answerBytes' | 'historyRows'>

const NOTHING: Asked = { databaseBytes: 0, auditRows: {}, answerBytes: 0, historyRows: 0 }

const ALL = `SELECT
  (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c
    WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r') AS database_bytes,
  (SELECT coalesce(sum(bytes), 0) FROM answer_sums) AS answer_bytes,
  (SELECT count(*) FROM presence_history) AS history_rows`

/** The readings of the server for metrics, as it was when it was asked last: a scrape asks no server. */
export class ServerReadings {
  readonly #database: PostgresDatabase
  readonly #schema: string
  readonly #auditRows: () => Promise<Readonly<Record<string, number>>>
  #known = NOTHING

  constructor(
    database: PostgresDatabase,
    schema: string,
    auditRows: () => Promise<Readonly<Record<string, number>>>,
  ) {
    this.#database = database
    this.#schema = schema
    this.#auditRows = auditRows
  }

  get known(): Asked {
    return this.#known
  }

  /** Asks anew. Rejects when the server cannot be reached; what is known stays then. */
  async refresh(): Promise<void> {
    const [row] = await this.#database.read((sql) => sql.all(ALL, this.#schema))
    this.#known = {
      databaseBytes: Number(row?.database_bytes),
      answerBytes: Number(row?.answer_bytes),
      historyRows: Number(row?.history_rows),
      auditRows: await this.#auditRows(),
    }
  }
}
