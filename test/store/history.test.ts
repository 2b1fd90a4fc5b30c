import { expect, test } from 'vitest'
import { LIMITS } from '../../src/protocol/limits.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { nodeOf } from '../contract/store.contract.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { open, opened, temporaryFile } from './fixture.ts'

const change = (nodeId: string, at: number) =>
  ({ nodeId, at, status: at % 2 === 0 ? 'offline' : 'online', reason: 'heartbeat' }) as const

test('what a killed bridge left open ends with the last heartbeat that was stored', async () => {
  const file = temporaryFile()
  const before = createStore(open(file))
  expect(await before.resumeHistory(100)).toBe(100)
  await before.transact(async (tx) => {
    for (const nodeId of ['heard', 'unheard', 'away'])
      await tx.putNode(nodeOf(nodeId, { lastHeartbeatAt: null }))
  })
  await before.saveHistory([
    change('heard', 1001),
    change('unheard', 1001),
    change('away', 1001),
    change('away', 1002),
  ])
  await before.saveHeartbeats([{ nodeId: 'heard', at: 5000 }])
  await before.close()

  const store = createStore(opened(file))
  expect(await store.resumeHistory(9000)).toBe(100)
  const last = async (nodeId: string) => (await store.history(nodeId)).at(-1)
  expect(await last('heard')).toMatchObject({ at: 5000, status: 'offline', reason: 'bridge_restart' })
  expect(await last('unheard')).toMatchObject({ at: 1001, status: 'offline', reason: 'bridge_restart' })
  expect(await last('away')).toMatchObject({ at: 1002, reason: 'heartbeat' })
})

test('a limb that flaps keeps its newest changes only, and pushes nobody else out', async () => {
  const store = createStore(opened(':memory:'))
  await store.transact(async (tx) => {
    for (const nodeId of ['calm', 'flapping']) await tx.putNode(nodeOf(nodeId))
  })
  await store.saveHistory([change('calm', 1)])
  const many = LIMITS.historyRowsPerNode + 1000
  await store.saveHistory(Array.from({ length: many }, (_, i) => change('flapping', i)))
  const rows = await store.history('flapping')
  expect(rows).toHaveLength(LIMITS.historyRowsPerNode)
  expect(rows.at(-1)?.at).toBe(many - 1)
  expect(await store.pruneHistory(0, LIMITS.historyRowsPerNode + 300)).toBe(0)
  expect(await store.history('calm')).toHaveLength(1)
})

test('old rows and those beyond a number go, some at a time, and those of nobody are not taken', async () => {
  const clock = new FakeClock()
  const store = createStore(opened(':memory:', { clock }))
  await store.transact((tx) => tx.putNode(nodeOf('cam')))
  await store.saveHistory([change('revoked', 1), ...Array.from({ length: 1500 }, (_, i) => change('cam', i))])
  clock.advance(1500)
  // The wall clock, by which a change is dated, makes nothing old.
  clock.jumpWall(1e12)
  await store.saveHistory(Array.from({ length: 1500 }, (_, i) => change('cam', 1500 + i)))
  expect(await store.history('revoked')).toEqual([])
  expect(await store.pruneHistory(1500, 10_000)).toBe(1000)
  expect(await store.pruneHistory(1500, 10_000)).toBe(500)
  expect(await store.pruneHistory(1500, 10_000)).toBe(0)
  expect(await store.pruneHistory(0, 1200)).toBe(300)
  expect((await store.history('cam'))[0]?.at).toBe(1800)
  await store.transact((tx) => tx.deleteNode('cam'))
  expect(await store.history('cam')).toEqual([])
})

test('the number of rows follows what is written, trimmed and revoked, from the start on', async () => {
  const store = createStore(opened(':memory:'))
  await store.transact(async (tx) => {
    for (const nodeId of ['calm', 'flapping']) await tx.putNode(nodeOf(nodeId))
  })
  await store.resumeHistory(1)
  expect(store.historyRows()).toBe(0)
  await store.saveHistory([change('calm', 1)])
  await store.saveHistory(
    Array.from({ length: 2 * LIMITS.historyRowsPerNode }, (_, i) => change('flapping', i)),
  )
  const counted = store.historyRows()
  expect(counted).toBeLessThan(LIMITS.historyRowsPerNode + 300)
  // None is beyond the number, so that none goes.
  expect(await store.pruneHistory(0, counted)).toBe(0)
  await store.transact((tx) => tx.deleteNode('flapping'))
  expect(await store.pruneHistory(0, 1)).toBe(0)
  expect(await store.history('calm')).toHaveLength(1)
  expect(store.historyRows()).toBe(1)
})
