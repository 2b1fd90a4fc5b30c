import { expect, test } from 'vitest'
import type { Retention, Store } from '../../src/bridge/ports.ts'
import type { InvocationRecord } from '../../src/domain/invocations.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { callOf } from '../contract/store.contract.ts'
import { countedClock } from '../support/counted-clock.ts'
import { FakeClock } from '../support/fake-clock.ts'
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
  at: 50 * DAY,
  running: 0,
  invocationsBefore: 0,
  maxInvocations: 1e9,
  keysBefore: 0,
  auditBefore: 0,
  maxAuditRows: 1e9,
  maxActivityRows: 1e9,
  attemptsBefore: 0,
  maxAttemptRows: 1e9,
}

async function filled(count: number) {
  const clock = new FakeClock()
  const store = createStore(opened(':memory:', { clock }))
  for (let n = 1; n <= count; n++) {
    clock.advance(DAY)
    // It dates rows, and makes none old.
    clock.jumpWall(n % 2 === 0 ? 1e12 : -1e12)
    await store.transact(async (tx) => {
      await tx.putInvocation(call(n))
      await tx.audit(row(n))
    })
  }
  const calls = async () =>
    (await store.read((tx) => tx.invocations({}, 'oldest', undefined, 1000))).items.map(
      (each) => each.invocationId,
    )
  const rows = async () =>
    (await store.read((tx) => tx.auditRows({}, 'oldest', undefined, 1000))).items.map((each) => each.seq)
  return { store, calls, rows, clock }
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
  const { store, clock } = await filled(0)
  clock.advance(DAY)
  await store.transact(async (tx) => {
    await tx.putInvocation(call(1, { idempotencyKey: 'k', fingerprint: 'f' }))
    await tx.putAnswer('iv_1', '{}', { perPrincipal: 1e9, total: 1e9 })
  })
  await store.prune({ ...KEEP_ALL, keysBefore: 1 * DAY })
  expect(await store.read((tx) => tx.invocationByKey('ann', 'k'))).not.toBeNull()
  await store.prune({ ...KEEP_ALL, keysBefore: 2 * DAY })
  expect(await store.read((tx) => tx.invocationByKey('ann', 'k'))).toBeNull()
  expect(await store.read((tx) => tx.answer('iv_1'))).toBeNull()
  expect(await store.read((tx) => tx.invocation('iv_1'))).not.toBeNull()
})

test('the audit log loses its oldest rows, says so each time, and still verifies', async () => {
  const { store, rows, clock } = await filled(6)
  await store.prune({ ...KEEP_ALL, auditBefore: 3 * DAY })
  expect(await rows()).toEqual([3, 4, 5, 6, 7])
  await store.prune({ ...KEEP_ALL, maxAuditRows: 3 })
  expect(await rows()).toEqual([6, 7, 8])
  const { items } = await store.read((tx) => tx.auditRows({ kind: 'audit.pruned' }, 'oldest', undefined, 10))
  expect(items).toMatchObject([
    { seq: 7, at: 50 * DAY, actor: 'bridge', outcome: 'pruned', detail: { rows: 2, upTo: 2 } },
    { seq: 8, detail: { rows: 3, upTo: 5, hash: expect.stringMatching(/^[0-9a-f]{64}$/) } },
  ])
  expect(await store.verifyAudit()).toMatchObject({ whole: true, rows: 3 })
  clock.advance(9 * DAY)
  await store.prune({ ...KEEP_ALL, auditBefore: 99 * DAY })
  await store.transact((tx) => tx.audit(row(9)))
  expect(await store.verifyAudit()).toMatchObject({ whole: true })
  expect(await rows()).toEqual([9, 10])
})

test('what was pruned is told once a day at most, and a number is kept to', async () => {
  const { store, rows } = await filled(6)
  expect(await store.prune({ ...KEEP_ALL, auditBefore: 2 * DAY - 1 })).toEqual({ rows: 0, more: false })
  expect(await rows()).toHaveLength(6)
  for (let i = 0; i < 3; i++) await store.prune({ ...KEEP_ALL, maxAuditRows: 4 })
  expect(await rows()).toEqual([4, 5, 6, 7])
})

/** Takes steps until nothing is left to be done; returns what each did. */
async function steps(store: Store, retention: Partial<Retention>): Promise<number[]> {
  const done: number[] = []
  for (;;) {
    const { rows, more } = await store.prune({ ...KEEP_ALL, ...retention })
    done.push(rows)
    if (!more) return done
  }
}

test('very many rows go in several steps, each with a commit and rows of its own', async () => {
  const store = createStore(opened(':memory:', { clock: countedClock() }))
  await store.transact(async (tx) => {
    for (let n = 1; n <= 3500; n++) await tx.audit(row(n))
  })
  const done = await steps(store, { maxAuditRows: 10 })
  expect(done.length).toBeGreaterThan(1)
  expect(Math.max(...done)).toBeLessThanOrEqual(1000)
  expect(await store.verifyAudit()).toMatchObject({ whole: true, rows: 10 })
})

test('a step of retention ends when its time is over, whatever is to be deleted', async () => {
  // A millisecond passes between two rows.
  const store = createStore(opened(':memory:', { clock: countedClock() }))
  await store.transact(async (tx) => {
    for (let n = 0; n < 100; n++) {
      await tx.putInvocation(call(1, { invocationId: `iv_${n}`, idempotencyKey: `k${n}`, fingerprint: 'f' }))
      await tx.putAnswer(`iv_${n}`, '{}', { perPrincipal: 1e9, total: 1e9 })
    }
  })
  const freed = await steps(store, { keysBefore: 1e12 })
  expect(Math.max(...freed)).toBeLessThanOrEqual(10)
  expect(freed.reduce((sum, rows) => sum + rows)).toBe(100)
  const dropped = await steps(store, { maxInvocations: 1 })
  expect(Math.max(...dropped)).toBeLessThanOrEqual(10)
  expect(dropped.reduce((sum, rows) => sum + rows)).toBe(99)
})

test('a key of an invocation that was open when others were freed is freed when it has ended', async () => {
  const { store, clock } = await filled(0)
  const open = call(1, { endedAt: null, state: 'queued', idempotencyKey: 'k', fingerprint: 'f' })
  await store.transact((tx) => tx.putInvocation(open))
  clock.advance(2 * DAY)
  expect(await steps(store, { keysBefore: DAY })).toEqual([0])
  await store.transact((tx) => tx.putInvocation({ ...open, endedAt: 5, state: 'done' }))
  expect(await steps(store, { keysBefore: DAY })).toEqual([1])
  expect(await store.read((tx) => tx.invocationByKey('ann', 'k'))).toBeNull()
})

test('a listing finds the rare row behind very many others, page by page', async () => {
  const store = createStore(opened(':memory:'))
  await store.transact(async (tx) => {
    await tx.audit({ ...row(0), kind: 'rare.one' })
    for (let n = 1; n <= 25_000; n++) await tx.audit(row(n))
  })
  const page = (after: string | undefined) =>
    store.read((tx) => tx.auditRows({ kind: 'rare.' }, 'newest', after, 10))
  const first = await page(undefined)
  expect(first.items).toEqual([])
  expect(first.next).toBeDefined()
  let last = first
  for (let pages = 1; last.items.length === 0 && pages < 10; pages++) last = await page(last.next)
  expect(last.items.map((each) => each.seq)).toEqual([1])
  expect(last.next).toBeUndefined()
})

test('a listing by two things looks at few rows of the first for a page, each of which may lie elsewhere', async () => {
  const store = createStore(opened(':memory:'))
  await store.transact(async (tx) => {
    await tx.audit({ ...row(0), kind: 'rare.one' })
    for (let n = 1; n <= 1200; n++) await tx.audit(row(n))
  })
  let pages = 0
  const found: string[] = []
  let after: string | undefined
  do {
    const page = await store.read((tx) => tx.auditRows({ actor: 'ann', kind: 'rare.' }, 'newest', after, 10))
    found.push(...page.items.map(({ kind }) => kind))
    after = page.next
    pages++
  } while (after !== undefined)
  expect(found).toEqual(['rare.one'])
  expect(pages).toBe(3)
})
