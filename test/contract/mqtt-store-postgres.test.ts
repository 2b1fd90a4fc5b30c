import { afterAll, afterEach, beforeAll, describe } from 'vitest'
import { systemClock } from '../../src/kernel/clock.ts'
import { openPostgres, type PostgresDatabase } from '../../src/store/postgres/database.ts'
import { createPostgresMqttStore } from '../../src/store/postgres/mqtt/store.ts'
import { silent } from '../store/fixture.ts'
import { lacking, needs } from '../support/needs.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { mqttStoreContract } from './mqtt-store.contract.ts'

describe('on a server of PostgreSQL', () => {
  needs('postgresql')
  let postgres: PostgresServer
  let schemas = 0
  const opened: PostgresDatabase[] = []

  beforeAll(() => {
    if (lacking('postgresql') === undefined) postgres = startPostgres()
  }, 180_000)
  afterAll(() => postgres?.stop())
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((database) => database.close()))
  })

  mqttStoreContract('PostgreSQL', () => {
    const schema = `contract_${schemas++}`
    const database = openPostgres({ server: postgres.server, schema, clock: systemClock, log: silent })
    opened.push(database)
    return createPostgresMqttStore(database)
  })
})
