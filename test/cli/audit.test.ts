import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { allPages } from '../../src/cli/session/paging.ts'
import { LineOutput } from '../../src/cli/terminal/line-output.ts'
import { SPARSE_ROWS } from '../../src/store/paging.ts'
import { startApp, type TestApp } from '../support/app.ts'
import type { Loose, TestClient } from '../support/client.ts'
import { patience } from '../support/patience.ts'
import { run, start } from './run.ts'

/** `audit list` line by line, against the bridge itself, whose first entry is that of its own administrator. */

let app: TestApp & AsyncDisposable
let admin: TestClient
beforeEach(async () => {
  app = await startApp()
  admin = await app.admin()
})
afterEach(() => app[Symbol.asyncDispose]())

const at = (...argv: string[]) => ['audit', 'list', ...argv, '--socket', app.bridge.control]
const local = (...argv: string[]) => run(at(...argv))
const setPolicy = (principal: string, nodeId = 'r1', client = admin) =>
  client.do('admin', 'policy/set', { principal, nodeId, capability: 'arm', level: 'free' })
const rowsOf = (out: string): Loose[] =>
  out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))

async function stored(): Promise<Loose[]> {
  return (await admin.do('admin', 'audit/list', { order: 'oldest', limit: 1000 })).items
}

test('audit list filters by who, limb, kind or kinds, and time', async () => {
  await setPolicy('ann')
  const [, { at: first, kind, actor }] = await stored()
  // Another time for sure.
  while (new Date().toISOString() === first) await admin.settle()
  await setPolicy('bob', 'r2')
  await admin.do('admin', 'principal/add', { name: 'bob', role: 'viewer', password: 'bob-password' })
  const all = await stored()
  expect(all.map((row) => row.actor)).toEqual(['bridge', actor, actor, actor])
  const found = async (...argv: string[]) =>
    JSON.parse((await local(...argv, '--order', 'oldest', '--json')).out).items.map((row: Loose) => row.seq)
  expect(await found('--actor', actor)).toEqual([2, 3, 4])
  expect(await found('--actor', 'nobody')).toEqual([])
  expect(await found('--node-id', 'r2')).toEqual([3])
  expect(await found('--kind', kind)).toEqual([2, 3])
  expect(await found('--kind', 'principal.')).toEqual([1, 4])
  expect(await found('--until', all[2].at)).toEqual([1, 2])
  expect(await found('--since', all[2].at)).toEqual([3, 4])
  expect(await found('--since', all[2].at, '--kind', kind, '--node-id', 'r1')).toEqual([])
  expect(await found('--since', '1h')).toEqual([1, 2, 3, 4])
  expect(await found('--until', '1h')).toEqual([])
  expect(await found('--since', first.slice(0, 10))).toEqual([1, 2, 3, 4])
  expect(await found('--until', first.slice(0, 10))).toEqual([])
  expect(await local('--since', 'yesterday')).toMatchObject({
    code: 2,
    err: expect.stringContaining('--since: "yesterday" is no time; give 2026-01-31 (UTC)'),
  })
  const table = await local()
  expect(table.out).toMatch(/^SEQ +AT +KIND +OUTCOME +ACTOR +NODE +DETAIL\n4 /)
})

test('audit verify exits 1 when the log is not whole, and compares a row that was kept', async () => {
  await setPolicy('ann')
  const verify = (...argv: string[]) => run(['audit', 'verify', ...argv, '--socket', app.bridge.control])
  expect(await verify()).toMatchObject({ code: 0, out: expect.stringMatching(/lastSeq: +2\n/), err: '' })
  const [, { hash }] = await stored()
  expect(await verify('--seq', '2', '--hash', hash)).toMatchObject({
    code: 0,
    out: expect.stringMatching(/known: +there\n/),
  })
  const other = await verify('--seq', '1', '--hash', hash, '--json')
  expect([other.code, JSON.parse(other.out).brokenAt, other.err]).toEqual([
    1,
    1,
    expect.stringContaining('the audit log is not whole: row 1 has another hash'),
  ])
  expect(await verify('--seq', '2')).toMatchObject({ code: 1, err: expect.stringContaining('together') })
})

test('--jsonl prints every page, a JSON document a line, or as many as --limit says', async () => {
  for (let i = 0; i < 5; i++) await setPolicy(`p${i}`)
  const oldest = await local('--jsonl', '--order', 'oldest')
  expect(oldest).toMatchObject({ code: 0, err: '' })
  expect(rowsOf(oldest.out)).toEqual(await stored())
  expect(rowsOf((await local('--jsonl')).out)).toEqual((await stored()).reverse())
  expect(rowsOf((await local('--jsonl', '--limit', '2')).out).map((row) => row.seq)).toEqual([6, 5])
  expect((await local('--jsonl', '--json')).code).toBe(2)
})

describe('--follow', () => {
  test('shows the newest in the order in which they came, then what comes, until Ctrl-C', async () => {
    for (let i = 0; i < 4; i++) await setPolicy(`p${i}`)
    const started = start(at('--follow', '--limit', '2'))
    await started.seen('p3')
    await setPolicy('ann')
    await started.seen('ann')
    await setPolicy('bob', 'r2')
    await started.seen('bob')
    started.interrupt()
    const { code, out, err } = await started.exit
    expect([code, err]).toEqual([0, ''])
    expect(out.split('\n').map((line) => line.split('  ')[0])).toEqual(['4', '5', '6', '7', ''])
    expect(out).toMatch(/\n7 {2}\S+Z {2}policy\.\S+ {2}\S+ {2}admin {2}r2 {2}\S.*principal=bob/)
  })

  test('keeps to its filter, also when nothing matches yet', async () => {
    await setPolicy('ann', 'r1')
    const started = start(at('--follow', '--node-id', 'r2', '--jsonl', '--limit', '5'))
    await setPolicy('bob', 'r1')
    await setPolicy('eve', 'r2')
    await started.seen('eve')
    started.interrupt()
    expect(rowsOf((await started.exit).out).map((row) => row.seq)).toEqual([4])
  })

  test(
    'with --jsonl it begins with all, and goes on where it was when the bridge was away',
    async () => {
      await setPolicy('ann')
      const started = start(at('--follow', '--jsonl'))
      await started.seen('"ann"')
      await setPolicy('bob')
      await started.seen('"bob"')
      await app.restart()
      await started.seen('trying again')
      admin = await app.admin()
      await setPolicy('eve')
      await started.seen('"eve"')
      await started.seen('answers again')
      started.interrupt()
      const { code, out } = await started.exit
      expect(code).toBe(0)
      expect(rowsOf(out)).toEqual(await stored())
    },
    patience(15_000),
  )

  test('goes on after the entry that it is given; what makes no sense with it is refused', async () => {
    for (const name of ['ann', 'bob']) await setPolicy(name)
    const started = start(at('--follow', '--after', '2'))
    await started.seen('bob')
    started.interrupt()
    expect((await started.exit).out).toMatch(/^3 {2}[^\n]*\n$/)
    for (const wrong of [['--order', 'newest'], ['--until', '2026-01-01T00:00:00Z'], ['--json']]) {
      expect((await local('--follow', ...wrong)).code).toBe(2)
    }
  })
})

test('a reader that has gone ends the lines; a disk that is full is told', async () => {
  for (const [code, failed] of [
    ['EPIPE', false],
    ['ENOSPC', true],
  ] as const) {
    const output = new PassThrough({ highWaterMark: 1 })
    const lines = new LineOutput(output, (row) => String(row.seq))
    const written = lines.write([{ seq: 1 }])
    output.destroy(Object.assign(new Error(code), { code }))
    await written
    expect([lines.ended, lines.failure !== undefined]).toEqual([true, failed])
  }
})

test('an empty page with a next one is not the end of a list', async () => {
  const pages: Record<string, object> = {
    first: { items: [], next: '20' },
    20: { items: [], next: '10' },
    10: { items: [{ seq: 1 }] },
  }
  const bridge = {
    request: async (_verb: string, { after }: { after?: string }) => pages[after ?? 'first'],
  } as unknown as Parameters<typeof allPages>[0]
  expect(await allPages(bridge, 'audit/list')).toEqual({ items: [{ seq: 1 }] })
})

test('a row behind five million others that do not fit is found, in the smallest windows that the bridge looks at', async () => {
  const windows = 5_000_000 / SPARSE_ROWS
  let asked = 0
  const bridge = {
    request: async () => (++asked < windows ? { items: [], next: `${asked}` } : { items: [{ seq: 1 }] }),
  } as unknown as Parameters<typeof allPages>[0]
  expect(await allPages(bridge, 'audit/list')).toEqual({ items: [{ seq: 1 }] })
})
