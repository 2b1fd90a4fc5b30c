import { expect, test } from 'vitest'
import type { InvocationRecord } from '../../src/domain/invocations.ts'
import { createStore } from '../../src/store/store.ts'
import { callOf } from '../contract/store.contract.ts'
import { opened } from './fixture.ts'

const DAY = 86_400_000
const call = (n: number, more: Partial<InvocationRecord> = {}) =>
  callOf(`iv_${n}`, { createdAt: n * DAY, endedAt: n * DAY + 1, ...more })
const row = (n: number) => ({
  at: n * DAY,
  actor: 'ann',
  kind: 'x.y',
  nodeId: null,
  outcome: `o${n}`,
  detail: {},
})
const KEEP_ALL = {
  now: 0,
  invocationsBefore: 0,
  maxInvocations: 1e9,
  keysBefore: 0,
  auditBefore: 0,
  maxAuditRows: 1e9,
}

async function filled(count: number) {
  const store = createStore(opened(':memory:'))
  await store.transact(async (tx) => {
    for (let n = 1; n <= count; n++) {
      await tx.putInvocation(call(n))
      await tx.audit(row(n))
    }
  })
  const calls = async () =>
    (await store.read((tx) => tx.invocations({}, 'oldest', null, 1000))).items.map(
      (each) => each.invocationId,
    )
  const rows = async () =>
    (await store.read((tx) => tx.auditRows({}, 'oldest', null, 1000))).items.map((each) => each.seq)
  return { store, calls, rows }
}

test('ended calls go by age and by number, those under way stay', async () => {
  const { store, calls } = await filled(5)
  await store.transact((tx) => tx.putInvocation(call(0, { state: 'running', endedAt: null })))
  await store.prune({ ...KEEP_ALL, invocationsBefore: 3 * DAY })
  expect(await calls()).toEqual(['iv_3', 'iv_4', 'iv_5', 'iv_0'])
  await store.prune({ ...KEEP_ALL, maxInvocations: 2 })
  expect(await calls()).toEqual(['iv_5', 'iv_0'])
  await store.prune({ ...KEEP_ALL, invocationsBefore: 99 * DAY })
  expect(await calls()).toEqual(['iv_0'])
})

test('a key is free again after its time, and its answer is gone', async () => {
  const { store } = await filled(0)
  await store.transact(async (tx) => {
    await tx.putInvocation(call(1, { idempotencyKey: 'k', fingerprint: 'f' }))
    await tx.putAnswer('iv_1', '{}')
  })
  await store.prune({ ...KEEP_ALL, keysBefore: 1 * DAY })
  expect(await store.read((tx) => tx.invocationByKey('ann', 'k'))).not.toBeNull()
  await store.prune({ ...KEEP_ALL, keysBefore: 2 * DAY })
  expect(await store.read((tx) => tx.invocationByKey('ann', 'k'))).toBeNull()
  expect(await store.read((tx) => tx.answer('iv_1'))).toBeNull()
  expect(await store.read((tx) => tx.invocation('iv_1'))).not.toBeNull()
})

test('the audit log loses its oldest rows and still verifies, down to the newest row, which stays', async () => {
  const { store, rows } = await filled(6)
  await store.prune({ ...KEEP_ALL, auditBefore: 3 * DAY })
  expect(await rows()).toEqual([3, 4, 5, 6])
  await store.prune({ ...KEEP_ALL, maxAuditRows: 2 })
  expect(await rows()).toEqual([5, 6])
  expect(await store.verifyAudit()).toEqual({ whole: true, rows: 2 })
  await store.prune({ ...KEEP_ALL, auditBefore: 99 * DAY })
  await store.transact((tx) => tx.audit(row(7)))
  expect(await store.verifyAudit()).toMatchObject({ whole: true })
  expect((await rows()).at(-1)).toBe(7)
})

test('a listing finds the rare row behind very many others, page by page', async () => {
  const store = createStore(opened(':memory:'))
  await store.transact(async (tx) => {
    await tx.audit({ ...row(0), kind: 'rare.one' })
    for (let n = 1; n <= 25_000; n++) await tx.audit(row(n))
  })
  const page = (after: string | null) =>
    store.read((tx) => tx.auditRows({ kind: 'rare.' }, 'newest', after, 10))
  const first = await page(null)
  expect(first.items).toEqual([])
  expect(first.next).not.toBeNull()
  const second = await page(first.next)
  expect(second.items.map((each) => each.seq)).toEqual([1])
  expect(second.next).toBeNull()
})
