import { expect, test } from 'vitest'
import { createMqttStore } from '../../src/store/sqlite/mqtt/store.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { opened } from './fixture.ts'

/** Sessions that go with large queues: each page of a payload is looked at, and nobody waits for all of them. */

const SESSIONS = 4
const MESSAGES = 8
const MIB = 1024 * 1024

/** A store with the sessions of ann, and how many commits there were since they were made. */
async function withQueues() {
  let commits = 0
  const database = opened(':memory:', { onCommit: () => commits++ })
  const store = createMqttStore(database)
  const clientIds = Array.from({ length: SESSIONS }, (_, i) => `s${i}`)
  for (const clientId of clientIds) {
    await store.putSession(clientId, 'ann', 1)
    for (let n = 0; n < MESSAGES; n++)
      await store.enqueue([{ clientId, qos: 1, retain: false }], {
        brokerId: 'b',
        brokerCounter: n,
        topic: 't',
        payload: Buffer.alloc(MIB),
        extra: null,
      })
  }
  commits = 0
  return { database, store, clientIds, commits: () => commits }
}

test('sessions that go with large queues go in many commits', async () => {
  const { store, clientIds, commits } = await withQueues()
  await store.deleteSessions(clientIds)
  // Each has a few messages at most.
  expect(commits()).toBeGreaterThanOrEqual((SESSIONS * MESSAGES) / 3)
  expect(await store.queueSizes()).toEqual([])
  expect(await store.loadSessions()).toEqual([])
})

test('a decision that ends an identity waits for no large queue: its sessions are gone, their queues follow', async () => {
  const { database, store, clientIds, commits } = await withQueues()
  await createStore(database).transact((tx) => tx.forgetSessions('ann'))
  expect(await store.loadSessions()).toEqual([])
  const left = await store.queueSizes()
  expect(left.reduce((sum, { messages }) => sum + messages, 0)).toBe(SESSIONS * MESSAGES)
  const before = commits()
  await store.deleteSessions(clientIds)
  expect(commits() - before).toBeGreaterThanOrEqual((SESSIONS * MESSAGES) / 3)
  expect(await store.queueSizes()).toEqual([])
})
