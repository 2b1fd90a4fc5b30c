import { expect, test } from 'vitest'
import { createMqttStore } from '../../src/store/sqlite/mqtt/store.ts'
import { opened } from './fixture.ts'

/** Sessions that go with large queues: each page of a payload is looked at, and nobody waits for all of them. */

const SESSIONS = 4
const MESSAGES = 8
const MIB = 1024 * 1024

test('sessions that go with large queues go in many commits', async () => {
  let commits = 0
  const store = createMqttStore(opened(':memory:', { onCommit: () => commits++ }))
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
  await store.deleteSessions(clientIds)
  // Each has a few messages at most.
  expect(commits).toBeGreaterThanOrEqual((SESSIONS * MESSAGES) / 3)
  expect(await store.queueSizes()).toEqual([])
  expect(await store.loadSessions()).toEqual([])
})
