import { expect, test } from 'vitest'
import type { InvocationRecord } from '../../src/domain/invocations.ts'
import type { AuditEntry } from '../../src/domain/records.ts'
import { createMqttStore } from '../../src/store/sqlite/mqtt/store.ts'
import { RESERVE_BYTES, Room } from '../../src/store/sqlite/room.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { opened } from './fixture.ts'

const MIB = 1024 * 1024

const entry = (kind: string, detail: Record<string, unknown> = {}): AuditEntry => ({
  at: 1,
  actor: 'ann',
  kind,
  nodeId: null,
  outcome: 'stored',
  detail,
})

const invocation = (id: string, principal = 'ann'): InvocationRecord => ({
  invocationId: id,
  principal,
  nodeId: 'cam',
  capability: 'camera',
  command: 'camera.snap',
  paramsHash: 'a1',
  level: 'free',
  state: 'done',
  createdAt: 1,
  endedAt: 2,
  fence: null,
  idempotencyKey: id,
  fingerprint: 'f',
  decidedBy: null,
  reason: null,
  error: null,
})

test('answers for idempotency keys have a bound in bytes for each principal and one for all; the oldest go, the keys stay', async () => {
  const store = createStore(opened(':memory:'))
  const bounds = { perPrincipal: 300, total: 450 }
  const keep = (id: string, bytes: number, principal?: string) =>
    store.transact(async (tx) => {
      await tx.putInvocation(invocation(id, principal))
      return await tx.putAnswer(id, 'x'.repeat(bytes), bounds)
    })
  const kept = async (...ids: string[]) => {
    const answers = await store.read((tx) => Promise.all(ids.map((id) => tx.answer(id))))
    return ids.filter((_, i) => answers[i] !== null)
  }
  expect(await keep('a1', 100)).toBe(0)
  expect(await keep('a2', 100)).toBe(0)
  expect(await keep('a3', 150)).toBe(1)
  expect(await kept('a1', 'a2', 'a3')).toEqual(['a2', 'a3'])
  expect(await store.read((tx) => tx.invocationByKey('ann', 'a1'))).not.toBeNull()
  expect(await keep('b1', 200, 'bob')).toBe(0)
  // Ann holds most: hers go, and bob's stay.
  expect(await keep('c1', 100, 'cyd')).toBe(1)
  expect(await kept('a2', 'a3', 'b1', 'c1')).toEqual(['a3', 'b1', 'c1'])
  expect(store.answerBytes()).toBe(450)
  expect(await keep('a4', 301)).toBe(1)
  expect(await kept('a3', 'a4')).toEqual(['a3'])
  // The same answer again counts once.
  expect(await keep('c1', 90, 'cyd')).toBe(0)
  expect(store.answerBytes()).toBe(440)
  await store.transact((tx) => tx.deletePrincipal('bob'))
  expect(store.answerBytes()).toBe(240)
  await store.prune({
    at: 10,
    running: 0,
    invocationsBefore: 1e15,
    maxInvocations: 1e9,
    keysBefore: 0,
    auditBefore: 0,
    maxAuditRows: 1e9,
    maxActivityRows: 1e9,
    attemptsBefore: 0,
    maxAttemptRows: 1e9,
  })
  expect(store.answerBytes()).toBe(0)
})

test('a database at its bound keeps no message, answer or beginning, and lets decisions and endings through', async () => {
  const clock = new FakeClock()
  const database = opened(':memory:', { maxBytes: 16 * MIB, clock })
  const store = createStore(database)
  const mqtt = createMqttStore(database)
  const limits = { total: 1e9, totalBytes: 1e12, below: undefined }
  const retain = (topic: string, bytes: number) =>
    mqtt.putRetained({ topic, payload: Buffer.alloc(bytes), qos: 1, extra: null }, limits, 'now')
  let topics = 0
  while ((await retain(`t/${topics}`, MIB)) === 'stored') topics++
  expect(topics).toBeGreaterThan(10)
  expect(topics).toBeLessThan(16)
  expect(mqtt.hasRoom(MIB)).toBe(false)
  // Small things fill what is left.
  for (let i = 0; (await retain(`s/${i}`, 1000)) === 'stored'; i++) expect(i).toBeLessThan(2000)

  const audit = (kind: string) => store.transact((tx) => tx.audit(entry(kind)))
  const until = async (done: () => Promise<boolean>) => {
    for (let i = 0; i < 1000 && !(await done()); i++) clock.advance(300)
  }
  await until(async () =>
    audit('invocation.started').then(
      () => false,
      () => true,
    ),
  )
  for (const kind of ['invocation.started', 'lease.granted', 'pairing.requested'])
    await expect(audit(kind), kind).rejects.toMatchObject({
      code: 'storage_unavailable',
      message: expect.stringContaining('store.maxBytes'),
    })
  const rows = async (kind: string) =>
    (await store.read((tx) => tx.auditRows({ kind }, 'newest', undefined, 10))).items.length
  await audit('request.refused')
  expect(await rows('request.refused')).toBe(0)
  for (const kind of ['node.revoked', 'pairing.rejected', 'policy.set', 'invocation.ended', 'lease.ended']) {
    await audit(kind)
    expect(await rows(kind), kind).toBe(1)
  }
  await store.transact((tx) => tx.putInvocation(invocation('i')))
  expect(
    await store.transact((tx) => tx.putAnswer('i', 'x'.repeat(4000), { perPrincipal: 1e9, total: 1e9 })),
  ).toBe(1)
  expect(await store.verifyAudit()).toMatchObject({ whole: true })

  // What goes makes room again, and so does a higher bound.
  await mqtt.deleteRetained('t/0', 'now')
  clock.advance(300)
  expect(mqtt.hasRoom(MIB / 2)).toBe(true)
  database.room.setMaxBytes(32 * MIB)
  expect(await retain('t/more', 4 * MIB)).toBe('stored')
})

test('SQLite ends the file behind the reserve, also one that is larger than the bound already', () => {
  const { sql } = opened(':memory:')
  const pageBytes = Number(sql.pragma('page_size', { simple: true }))
  const room = new Room(sql, new FakeClock(), 16 * MIB)
  const pages = () => Number(sql.pragma('max_page_count', { simple: true }))
  expect(pages()).toBe((16 * MIB + RESERVE_BYTES) / pageBytes)
  sql.exec('CREATE TABLE large (data BLOB); INSERT INTO large VALUES (zeroblob(20971520))')
  room.setMaxBytes(16 * MIB)
  const present = Number(sql.pragma('page_count', { simple: true }))
  expect(pages()).toBe(present + RESERVE_BYTES / pageBytes)
  expect(room.has(0)).toBe(false)
})

test('an invocation that may not begin leaves neither its row nor its audit row, and takes no other work with it', async () => {
  const clock = new FakeClock()
  const database = opened(':memory:', { maxBytes: 16 * MIB, clock })
  const store = createStore(database)
  database.room.setMaxBytes(1)
  clock.advance(300)
  const begins = store.transact(async (tx) => {
    await tx.putInvocation(invocation('i1'))
    await tx.audit(entry('invocation.started'))
  })
  const decides = store.transact((tx) => tx.audit(entry('node.revoked')))
  await expect(begins).rejects.toMatchObject({ code: 'storage_unavailable' })
  await decides
  expect(await store.read((tx) => tx.invocation('i1'))).toBeNull()
})
