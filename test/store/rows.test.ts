import { describe, expect, test } from 'vitest'
import type { Store } from '../../src/bridge/ports.ts'
import { hashKey } from '../../src/kernel/secrets.ts'
import { createMqttStore } from '../../src/store/sqlite/mqtt/store.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { nodeOf, PHC, policyOf, requestOf } from '../contract/store.contract.ts'
import { open, opened, temporaryFile } from './fixture.ts'

async function loadAll(store: Store): Promise<void> {
  for await (const _ of store.loadNodes()) {
    // Reading is the test.
  }
  await store.loadRequests({ now: 0, maxRequests: 100, maxBytes: 1_000_000 })
}

describe('a row that does not parse stops the start and is named', () => {
  test.each([
    ['nodes', 'cam-1', 'UPDATE nodes SET capabilities = \'[{"cap":"a b"}]\''],
    ['nodes', 'cam-1', "UPDATE nodes SET capabilities = 'nonsense'"],
    ['nodes', 'cam-1', "UPDATE nodes SET invoke = 'pigeon'"],
    ['nodes', '__no/such', "UPDATE nodes SET node_id = '__no/such'"],
    ['node_keys', 'cam-1', "UPDATE node_keys SET hash = x'00'"],
    ['requests', 'r-1', "UPDATE requests SET registration = '{}'"],
    ['requests', 'r-1', "UPDATE requests SET kind = 'none'"],
    ['principals', 'ada', "UPDATE principals SET password_hash = 'secret'"],
    ['principals', 'ada', "UPDATE principals SET role = 'god'"],
    ['policies', 'ada, cam-1, *', "UPDATE policies SET level = 'maybe'"],
  ])('table %s, key %s: %s', async (table, key, damage) => {
    const file = temporaryFile()
    const database = open(file)
    const store = createStore(database)
    await store.transact(async (tx) => {
      await tx.putNode(nodeOf('cam-1'))
      await tx.putNodeKeys('cam-1', { current: hashKey('k'), next: null, currentUntil: null })
      await tx.putRequest(requestOf('r-1', 'cam-1'))
      await tx.putPrincipal({ name: 'ada', role: 'admin', passwordHash: PHC, createdAt: 1, createdBy: 'x' })
      await tx.putPolicy(policyOf('ada', 'cam-1', '*'))
    })
    await loadAll(store)
    database.sql.pragma('ignore_check_constraints = ON')
    database.sql.exec(damage)
    await store.close()

    const load = async () => loadAll(createStore(opened(file)))
    await expect(load()).rejects.toThrow(`table "${table}", key ${JSON.stringify(key)}`)
  })

  test('of the MQTT tables too', async () => {
    const database = opened(temporaryFile())
    const store = createMqttStore(database)
    await store.putSubscriptions([{ clientId: 'c', filter: 'a/b', qos: 1, extra: null }])
    database.sql.pragma('ignore_check_constraints = ON')
    database.sql.exec('UPDATE mqtt_subscriptions SET qos = 7')
    await expect(store.loadSubscriptions()).rejects.toThrow('table "mqtt_subscriptions", key "c, a/b": "qos"')
  })
})

test('SQLite refuses wrong values by itself', () => {
  const { sql } = opened(':memory:')
  const policy = (level: unknown) =>
    sql.prepare("INSERT INTO policies VALUES ('a', 'b', 'c', ?, 1, 'x')").run(level)
  expect(() => policy('maybe')).toThrow(/CHECK/)
  expect(() => sql.prepare("INSERT INTO heartbeats VALUES ('a', 'yesterday')").run()).toThrow(/INTEGER/)
})

test('nodes of one model share one frozen list of capabilities', async () => {
  const store = createStore(opened(':memory:'))
  await store.transact(async (tx) => {
    for (const id of ['a', 'b']) await tx.putNode(nodeOf(id))
  })
  const lists: unknown[] = []
  for await (const page of store.loadNodes()) lists.push(...page.map(({ capabilities }) => capabilities))
  expect(lists[0]).toBe(lists[1])
  expect(Object.isFrozen(lists[0])).toBe(true)
})
