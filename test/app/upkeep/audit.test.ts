import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { AUDIT_KINDS, AUDIT_LOGS, auditLogOf } from '../../../src/protocol/audit-kinds.ts'
import { startApp } from '../../support/app.ts'
import type { Loose } from '../../support/client.ts'
import { onPostgres } from '../../support/store.ts'
import { agent, send, worker } from '../../support/worker.ts'

/** Each store keeps its audit log by a trigger; on PostgreSQL one of them is against both. */
const withoutTrigger = (name: string) => `DROP TRIGGER ${onPostgres ? 'audit_keeps_rows ON audit' : name}`

describe('the audit log', () => {
  it('has a row for a request beyond the role of its principal', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const vic = await agent(app, 'vic', 'viewer')
    await worker(app, 'r1')
    for (const verb of ['invoke', 'policy/set']) {
      expect((await vic.ask('vic', verb, { nodeId: 'r1', command: 'arm.move' })).error.code).toBe('forbidden')
    }
    const { items } = await admin.do('admin', 'audit/list', { actor: 'vic', order: 'oldest' })
    expect(items).toMatchObject([
      {
        kind: 'request.refused',
        outcome: 'forbidden',
        detail: { verb: 'invoke', role: 'viewer', needs: 'agent' },
      },
      { kind: 'request.refused', outcome: 'forbidden', detail: { verb: 'policy/set', needs: 'operator' } },
    ])
  })

  it('has a row for each decision, newest first or oldest first, in pages, by who, limb, kind and time', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const admin = await app.admin()
    const policy = { principal: 'ann', nodeId: 'r1', capability: 'arm' }
    await admin.do('admin', 'policy/set', { ...policy, level: 'free' })
    app.clock.advance(60_000)
    const since = new Date(app.clock.wallMs()).toISOString()
    await robot.client.publish('limb/node/r1/heartbeat')
    const answer = await send(ann, 'ann', 'invoke', {
      nodeId: 'r1',
      command: 'arm.move',
      params: { secret: 's3cret' },
    })
    await robot.answer(await robot.next())
    await answer()
    await ann.ask('ann', 'invoke', { nodeId: 'r1', command: 'self-destruct.go' })

    const list = async (args: Loose = {}) => (await admin.do('admin', 'audit/list', args)).items as Loose[]
    const kinds = async (args: Loose = {}) => (await list(args)).map((row) => row.kind)
    expect((await kinds({ nodeId: 'r1' })).slice(0, 4)).toEqual([
      'invocation.refused',
      'invocation.ended',
      'invocation.started',
      'policy.set',
    ])
    expect(await kinds({ actor: 'ann' })).toEqual(['invocation.refused', 'invocation.started'])
    expect(await kinds({ kind: 'policy.set' })).toEqual(['policy.set'])
    expect(await kinds({ kind: 'invocation.', order: 'oldest' })).toEqual([
      'invocation.started',
      'invocation.ended',
      'invocation.refused',
    ])
    expect(await kinds({ since })).toEqual(['invocation.refused', 'invocation.ended', 'invocation.started'])
    expect(await kinds({ until: since, kind: 'invocation.' })).toEqual([])
    expect((await list({ kind: 'invocation.refused' }))[0]).toMatchObject({
      actor: 'ann',
      nodeId: 'r1',
      outcome: 'denied',
      detail: { command: 'self-destruct.go' },
    })
    expect(JSON.stringify(await list())).not.toContain('s3cret')

    const all = await kinds()
    const paged: string[] = []
    for (let after: string | undefined; ; ) {
      const page = await admin.do('admin', 'audit/list', { limit: 2, ...(after ? { after } : {}) })
      paged.push(...page.items.map((row: Loose) => row.kind))
      after = page.next
      if (!after) break
    }
    expect(paged).toEqual(all)
    const rows = await list()
    const newestOf = (log: string) => rows.find(({ kind }) => auditLogOf(kind) === log) ?? {}
    const ends = AUDIT_LOGS.map((log) => ({ log, seq: newestOf(log).seq, hash: newestOf(log).hash }))
    expect(await admin.do('admin', 'audit/verify')).toEqual({
      whole: true,
      rows: all.length,
      firstSeq: 1,
      lastSeq: ends[0]?.seq,
      lastHash: ends[0]?.hash,
      ends,
    })
    expect((await admin.ask('admin', 'audit/list', { after: 'x' })).error.path).toBe('after')
  })

  it('has a bounded number of rows for leases that somebody did not get, whatever was asked for', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    for (let i = 0; i < 300; i++) {
      const wish = { nodeId: 'r1', capability: `c${i % 250}` }
      expect((await ann.ask('ann', 'lease/acquire', wish)).error.code).toBe('not_found')
    }
    app.clock.advance(61_000)
    const admin = await app.admin()
    const { items } = await admin.do('admin', 'audit/list', { kind: 'lease.refused', limit: 1000 })
    expect(items.length).toBeLessThanOrEqual(122)
    const counted = items.map(({ detail }: Loose) => detail.count ?? 1)
    expect(counted.reduce((sum: number, count: number) => sum + count)).toBe(300)
  })

  it('has a row for a lease that somebody did not get, for a key used for another invocation, and for the pairing window', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const bob = await agent(app, 'bob')
    const admin = await app.admin()
    const arm = { nodeId: 'r1', capability: 'arm' }
    await ann.do('ann', 'lease/acquire', arm)
    expect((await bob.ask('bob', 'lease/acquire', arm)).error.code).toBe('leased')
    expect((await bob.ask('bob', 'lease/acquire', { ...arm, capability: 'saw' })).error.code).toBe('denied')

    const keyed = { nodeId: 'r1', command: 'arm.move', params: { to: 1 }, idempotencyKey: 'k1' }
    const answer = await send(ann, 'ann', 'invoke', keyed)
    await robot.answer(await robot.next())
    await answer()
    expect((await ann.ask('ann', 'invoke', { ...keyed, params: { to: 2 } })).error.code).toBe('conflict')

    await admin.do('admin', 'pairing/permit', { seconds: 60, max: 3 })
    await admin.do('admin', 'pairing/permit', { seconds: 0 })
    await admin.do('admin', 'pairing/permit', { seconds: 60 })
    app.clock.advance(60_000)

    const list = async (args: Loose) =>
      (await admin.do('admin', 'audit/list', { order: 'oldest', ...args })).items as Loose[]
    expect(await list({ actor: 'bob' })).toMatchObject([
      { kind: 'lease.refused', nodeId: 'r1', outcome: 'leased', detail: { capability: 'arm' } },
      { kind: 'lease.refused', nodeId: 'r1', outcome: 'denied', detail: { capability: 'saw' } },
    ])
    expect(await list({ kind: 'invocation.refused' })).toMatchObject([
      { actor: 'ann', nodeId: 'r1', outcome: 'conflict', detail: { command: 'arm.move' } },
    ])
    const windows = (await list({ kind: 'pairing.' })).filter(({ kind }) =>
      kind.startsWith('pairing.window_'),
    )
    expect(windows).toMatchObject([
      { kind: 'pairing.window_opened', actor: 'admin', detail: { seconds: 60, max: 3 } },
      { kind: 'pairing.window_closed', actor: 'admin' },
      { kind: 'pairing.window_opened', actor: 'admin', detail: { seconds: 60 } },
      { kind: 'pairing.window_closed', actor: 'bridge', outcome: 'closed' },
    ])
  })

  it('tells its end once a day too', async () => {
    await using app = await startApp({}, { memory: true, fakeClock: true })
    const marks = () => app.logLines.filter(({ msg }) => String(msg).startsWith('audit log: '))
    expect(marks()).toHaveLength(1)
    app.clock.advance(86_400_000)
    // Chores come one after the other.
    await expect
      .poll(() => {
        app.clock.advance(1000)
        return marks().length
      })
      .toBe(2)
  })

  it('refuses a kind that no row ever has, and says what to write', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const refused = async (kind: string) => (await admin.ask('admin', 'audit/list', { kind })).error
    expect(await refused('lease')).toEqual({
      code: 'invalid_request',
      message: 'kind: no row is ever of the kind "lease"; write "lease." for all that begin so',
      path: 'kind',
    })
    expect((await refused('lease.taken')).message).toContain('there are lease.ended, lease.granted')
    expect((await refused('leases.')).message).toContain('they begin with audit., backup.')
    expect((await refused('')).message).toContain('they begin with')
  })

  it('has only kinds that are known', () => {
    const src = join(import.meta.dirname, '../../../src')
    const texts = ['bridge', 'store'].flatMap((folder) =>
      readdirSync(join(src, folder), { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.ts'))
        .map((name) => readFileSync(join(src, folder, name), 'utf8')),
    )
    const used = texts.flatMap((text) => [...text.matchAll(/'([a-z]+\.[a-z_]+)'/g)].map((match) => match[1]))
    expect([...new Set(used)].sort()).toEqual([...AUDIT_KINDS])
  })

  it('shows when somebody changed it behind its back', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    await admin.do('admin', 'policy/set', { principal: '*', nodeId: '*', capability: '*', level: 'denied' })
    await app.sql(
      `${withoutTrigger('audit_is_append_only')}; UPDATE audit SET actor = 'nobody' WHERE seq = 2`,
    )
    expect(await admin.do('admin', 'audit/verify')).toMatchObject({ whole: false, brokenAt: 2 })
  })

  it('tells in the log of the bridge where it ends, with which a cut end shows later', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    const marks = () =>
      app.logLines.filter(({ msg }) => String(msg).startsWith('audit log: ')) as {
        seq: number
        hash: string
      }[]
    expect(marks()).toMatchObject([{ rows: 1, seq: 1, hash: expect.stringMatching(/^[0-9a-f]{64}$/) }])
    await admin.do('admin', 'policy/set', { principal: '*', nodeId: '*', capability: '*', level: 'denied' })
    await app.restart()
    expect(marks()).toMatchObject([{ seq: 1 }, { seq: 2 }, { seq: 2 }])

    const { seq, hash } = marks()[1] ?? {}
    const again = await app.admin()
    const verify = (args: Loose = {}) => again.ask('admin', 'audit/verify', args)
    expect((await verify({ seq, hash })).data).toMatchObject({ whole: true, known: 'there' })
    await app.sql(`${withoutTrigger('audit_keeps_rows')}; DELETE FROM audit WHERE seq = 2`)
    expect((await verify()).data).toMatchObject({ whole: true, lastSeq: 1 })
    expect((await verify({ seq, hash })).data).toMatchObject({ whole: false, brokenAt: 2 })
    expect((await verify({ seq })).error).toMatchObject({ code: 'invalid_request', path: 'hash' })
    expect((await verify({ seq, hash: 'f0' })).error).toMatchObject({ code: 'invalid_request', path: 'hash' })
  })
})
