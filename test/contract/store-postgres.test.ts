import { describe } from 'vitest'
import type { Store } from '../../src/bridge/ports.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { openPostgres } from '../../src/store/postgres/database.ts'
import { createPostgresStore } from '../../src/store/postgres/store.ts'
import { silent } from '../store/fixture.ts'
import { onePostgres } from '../support/one-postgres.ts'
import { asOperator } from '../support/postgres.ts'
import { storeContract } from './store.contract.ts'

describe('on a server of PostgreSQL', () => {
  const postgres = onePostgres()
  let schemas = 0
  const schemaOf = new WeakMap<Store, string>()

  const make = () => {
    const schema = `contract_${schemas++}`
    const { server } = postgres
    const store = createPostgresStore(openPostgres({ server, schema, clock: systemClock, log: silent }))
    schemaOf.set(store, schema)
    return store
  }
  /** As a bridge does that got the lock while this one was frozen. */
  const takeOver = async (store: Store) => {
    await asOperator(postgres.server.host, `UPDATE ${schemaOf.get(store)}.leader SET epoch = epoch + 1`)
  }
  storeContract('PostgreSQL', Object.assign(make, { takeOver }))
})
