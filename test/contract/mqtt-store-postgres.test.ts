import { afterEach, describe } from 'vitest'
import { systemClock } from '../../src/kernel/clock.ts'
import { openPostgres, type PostgresDatabase } from '../../src/store/postgres/database.ts'
import { createPostgresMqttStore } from '../../src/store/postgres/mqtt/store.ts'
import { createPostgresStore } from '../../src/store/postgres/store.ts'
import { silent } from '../store/fixture.ts'
import { onePostgres } from '../support/one-postgres.ts'
import { mqttStoreContract } from './mqtt-store.contract.ts'

describe('on a server of PostgreSQL', () => {
  const postgres = onePostgres()
  let schemas = 0
  const opened: PostgresDatabase[] = []

  afterEach(async () => {
    await Promise.all(opened.splice(0).map((database) => database.close()))
  })

  mqttStoreContract('PostgreSQL', () => {
    const schema = `contract_${schemas++}`
    const database = openPostgres({ server: postgres.server, schema, clock: systemClock, log: silent })
    opened.push(database)
    return { mqtt: createPostgresMqttStore(database), store: createPostgresStore(database) }
  })
})
