import { StartError } from '../kernel/errors.ts'

/** The database cannot be opened or trusted. Stops the start; the message says what to do. */
export class StoreError extends StartError {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StoreError'
  }
}

/** A row that does not parse: damage, or an edit by hand. Never skipped: a missing node or policy is a wrong decision. */
export class BadRowError extends StoreError {
  constructor(table: string, key: string, why: string) {
    super(
      `The database has a row that cannot be understood: table "${table}", key ${JSON.stringify(key)}: ${why}. ` +
        'Stop the bridge, then restore a backup, or correct or delete that row with sqlite3.',
    )
    this.name = 'BadRowError'
  }
}
