import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { describe, expect, it } from 'vitest'
import { startApp } from '../support/app.ts'
import type { Loose } from '../support/client.ts'
import { agent, send, worker } from '../support/worker.ts'

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
    expect(await admin.do('admin', 'audit/verify')).toEqual({ whole: true, rows: all.length })
    expect((await admin.ask('admin', 'audit/list', { after: 'x' })).error.path).toBe('after')
  })

  it('shows when somebody changed it behind its back', async () => {
    await using app = await startApp()
    const admin = await app.admin()
    await admin.do('admin', 'policy/set', { principal: '*', nodeId: '*', capability: '*', level: 'denied' })
    const sql = new Sqlite(join(app.folder, 'limb.sqlite'))
    sql.exec("DROP TRIGGER audit_is_append_only; UPDATE audit SET actor = 'nobody' WHERE seq = 2")
    sql.close()
    expect(await admin.do('admin', 'audit/verify')).toMatchObject({ whole: false, brokenAt: 2 })
  })
})
