import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { alerts } from '../../scripts/metrics.ts'
import { keyOf, REGISTRATION, startApp } from '../support/app.ts'
import { skipWithout } from '../support/needs.ts'
import { patience } from '../support/patience.ts'
import { metricsIn, promtool, promtoolOn, type Scraped, scraped } from './promtool.ts'

/** What an operator says of a limb beforehand; its firmware it says itself. */
const { firmware: _firmware, ...PROVISIONED } = REGISTRATION

const ROOT = join(import.meta.dirname, '../..')

let app: Awaited<ReturnType<typeof startApp>>
beforeAll(async () => {
  // The five hundred limbs say nothing for as long as the tests take.
  app = await startApp({ http: { enabled: true, port: 0 }, presence: { timeoutSeconds: 3600 } })
})
afterAll(() => app[Symbol.asyncDispose]())

async function scrape(): Promise<Scraped> {
  const response = await fetch(`http://127.0.0.1:${app.bridge.http?.port}/metrics`)
  expect(response.status).toBe(200)
  return scraped(await response.text())
}

/** Of one series; NaN when it is not there. */
async function reading(series: string): Promise<number> {
  const { text } = await scrape()
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${series} `))
      ?.slice(series.length) ?? Number.NaN,
  )
}

const own = (all: Scraped) => all.series.filter((line) => line.startsWith('limb_')).sort()

/** Without those of the garbage collector, which come whenever it does something for the first time. */
const steady = (all: Scraped) => all.series.filter((line) => !line.startsWith('nodejs_gc_'))

describe('a scrape', () => {
  test('follows the conventions of Prometheus, as promtool knows them', async (context) => {
    skipWithout(context, 'promtool')
    const limb = await app.limb('convention')
    await limb.publish('limb/node/convention/heartbeat')
    await limb.settle()
    expect(promtool(['check', 'metrics'], (await scrape()).text)).toEqual({ ok: true, said: '' })
  })

  test('is described by docs/metrics.md: names, types and labels', async () => {
    const { types, series } = await scrape()
    const page = readFileSync(join(ROOT, 'docs/metrics.md'), 'utf8')
    const rows = [...page.matchAll(/^\| `(\w+)` \| (\w+) \| (.*?) \| /gm)]
    const documented = new Map(rows.map(([, name = '', type = '']) => [name, type]))
    expect(documented).toEqual(types)
    const labels = new Map(
      rows.map(([, name = '', , cell = '']) => [
        name,
        [...cell.matchAll(/(?:^|<br>)`(\w+)`/g)].map((match) => match[1]),
      ]),
    )
    for (const line of series) {
      const [, name = '', body = ''] = /^(\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})?$/.exec(line) ?? []
      const used = [...body.matchAll(/(\w+)="/g)].map((match) => match[1]).filter((label) => label !== 'le')
      expect(labels.get(name), line).toEqual(expect.arrayContaining(used))
    }
  })

  test(
    'has no more series with five hundred limbs and as many clients than with one of each',
    async () => {
      const admin = await app.admin()
      const fleet = async (from: number, count: number) => {
        const ids = Array.from({ length: count }, (_, i) => `n-${from + i}`)
        await admin.do('admin', 'node/import', {
          nodes: ids.map((nodeId) => ({ nodeId, ...PROVISIONED, apiKey: keyOf(nodeId) })),
        })
        for (let i = 0; i < ids.length; i += 50) {
          const limbs = await Promise.all(ids.slice(i, i + 50).map((id) => app.device(id, keyOf(id))))
          await Promise.all(limbs.map((limb, j) => limb.publish(`limb/node/${ids[i + j]}/heartbeat`)))
          await Promise.all(
            limbs.map((limb, j) =>
              limb.publish(`limb/node/${ids[i + j]}/data/x`, 'y', { qos: 1, retain: true }),
            ),
          )
          await Promise.all(limbs.map((limb, j) => limb.publish(`limb/node/other-${i + j}/data/x`)))
          await Promise.all(limbs.map((limb) => limb.subscribe('limb/#')))
        }
        for (let i = 0; i < count; i += 50)
          await admin.ask('admin', 'node/get', { nodeId: `nobody-${from + i}` })
      }
      // Candidates, a refused sign-in and a stored session too: each once before, and again with other names.
      const strangers = async (name: string) => {
        await app.device(`${name}-stranger`)
        await app.device('convention', `${name} is not the key of it`).catch(() => undefined)
        await app.principal('admin', `${name} is not the password`).catch(() => undefined)
        const stored = await app.admin({ clean: false, clientId: `${name}-stored` })
        await stored.subscribe('limb/node/nobody/data/#')
        await stored.end()
      }
      await fleet(0, 1)
      await strangers('a')
      const before = await scrape()
      await fleet(1, 500)
      await strangers('b')
      const after = await scrape()
      expect(own(after)).toEqual(own(before))
      expect(steady(after).length).toBeLessThan(steady(before).length + 20)
      expect(after.series.filter((line) => /"n-\d|-stranger|[ab]-stored|127\.0\.0\.1/.test(line))).toEqual([])
      expect(await reading('limb_pairings{status="approved"}')).toBeGreaterThan(500)
      expect(await reading('limb_denied_total{what="publish"}')).toBeGreaterThan(499)
      await admin.end()
    },
    patience(60_000),
  )
})

describe('what is counted', () => {
  test('limbs by status follow every change, without a walk through the fleet', async () => {
    const before = own(await scrape())
    const status = (name: string) => reading(`limb_nodes{status="${name}"}`)
    const [online, busy, offline] = [await status('online'), await status('busy'), await status('offline')]
    const limb = await app.limb('changes')
    expect(await status('offline')).toBe(offline + 1)
    const say = async (payload: object) => {
      await limb.publish('limb/node/changes/heartbeat', payload)
      await limb.settle()
    }
    await say({})
    expect([await status('online'), await status('offline')]).toEqual([online + 1, offline])
    await say({ status: 'busy' })
    expect([await status('online'), await status('busy')]).toEqual([online, busy + 1])
    const admin = await app.admin()
    await admin.do('admin', 'node/revoke', { nodeId: 'changes' })
    expect([await status('online'), await status('busy'), await status('offline')]).toEqual([
      online,
      busy,
      offline,
    ])
    expect(own(await scrape())).toEqual(before)
    await admin.end()
  })

  test('sessions by role follow sign-in, promotion and end', async () => {
    const roles = async (role: string) => reading(`limb_sessions{role="${role}"}`)
    const before = [await roles('candidate'), await roles('limb'), await roles('viewer')]
    const [candidates = 0, limbs = 0, viewers = 0] = before
    const admin = await app.admin()
    const { password } = await admin.do('admin', 'principal/add', { name: 'wall', role: 'viewer' })
    const wall = await app.principal('wall', password)
    const device = await app.device('promoted', keyOf('promoted'))
    await device.subscribe('limb/node/promoted/pairing')
    await device.publish('limb/node/promoted/register', REGISTRATION)
    const { json } = await device.next('limb/node/promoted/pairing')
    expect([await roles('candidate'), await roles('limb'), await roles('viewer')]).toEqual([
      candidates + 1,
      limbs,
      viewers + 1,
    ])
    expect(await reading('limb_pairings{status="pending"}')).toBe(1)
    await admin.do('admin', 'pairing/approve', { requestId: json.requestId })
    expect([await roles('candidate'), await roles('limb')]).toEqual([candidates, limbs + 1])
    expect(await reading('limb_pairings{status="pending"}')).toBe(0)
    const closed = device.ended()
    await admin.do('admin', 'node/revoke', { nodeId: 'promoted' })
    await closed
    await wall.end()
    await expect
      .poll(async () => [await roles('candidate'), await roles('limb'), await roles('viewer')])
      .toEqual(before)
    await admin.end()
  })

  test('commits, with how many works shared each, and the sizes on disk', async () => {
    const commits = await reading('limb_commit_duration_seconds_count')
    const works = await reading('limb_commit_works_sum')
    const admin = await app.admin()
    const names = Array.from({ length: 20 }, (_, i) => `shared-${i}`)
    await Promise.all(names.map((nodeId) => admin.do('admin', 'node/provision', { nodeId, ...PROVISIONED })))
    expect(await reading('limb_commit_duration_seconds_count')).toBeGreaterThan(commits)
    expect(await reading('limb_commit_works_sum')).toBeGreaterThanOrEqual(works + 20)
    expect(await reading('limb_database_wal_bytes')).toBeGreaterThan(0)
    expect(await reading('limb_disk_free_bytes')).toBeGreaterThan(0)
    await admin.end()
  })

  test('invocations from request to answer, and the leases they hold', async () => {
    const open = () =>
      Promise.all(
        ['queued', 'waiting', 'running'].map((state) => reading(`limb_invocations_open{state="${state}"}`)),
      )
    const limb = await app.limb('callee')
    await limb.subscribe('limb/node/callee/invoke')
    await limb.publish('limb/node/callee/heartbeat')
    await limb.settle()
    const admin = await app.admin()
    expect([...(await open()), await reading('limb_leases_held')]).toEqual([0, 0, 0, 0])
    const call = { nodeId: 'callee', command: 'camera.snap', waitSeconds: 20 }
    // The second one, of somebody else, waits for the lease of the first.
    const { password } = await admin.do('admin', 'principal/add', { name: 'robot', role: 'agent' })
    const robot = await app.principal('robot', password)
    const first = admin.ask('admin', 'invoke', call)
    const { json } = await limb.next('limb/node/callee/invoke')
    const second = robot.ask('robot', 'invoke', call)
    await expect.poll(open).toEqual([1, 0, 1])
    expect(await reading('limb_leases_held')).toBe(1)
    const answer = async (invocationId: string) =>
      limb.publish('limb/node/callee/result', { invocationId, success: true })
    await answer(json.invocationId)
    expect((await first).ok).toBe(true)
    await answer((await limb.next('limb/node/callee/invoke')).json.invocationId)
    expect((await second).ok).toBe(true)
    expect([...(await open()), await reading('limb_leases_held')]).toEqual([0, 0, 0, 0])
    expect(await reading('limb_invocations_total{outcome="done"}')).toBe(2)
    expect(await reading('limb_invocation_duration_seconds_count{outcome="done"}')).toBe(2)
    await robot.end()
    await admin.end()
  })

  test('queues of sessions that are away, until they are emptied or forgotten', async () => {
    const queued = () => reading('limb_queued_messages')
    const limb = await app.limb('talker')
    const reader = { clean: false, clientId: 'away-reader' }
    const away = await app.admin(reader)
    await away.subscribe('limb/node/talker/data/#')
    await away.end()
    const [messages, bytes] = [await queued(), await reading('limb_queued_bytes')]
    const retained = await reading('limb_retained_messages')
    const topic = 'limb/node/talker/data/x'
    for (let i = 0; i < 3; i++) await limb.publish(topic, 'four', { qos: 1, retain: true })
    expect(await queued()).toBe(messages + 3)
    expect(await reading('limb_queued_bytes')).toBe(bytes + 3 * (topic.length + 4))
    expect(await reading('limb_retained_messages')).toBe(retained + 1)
    const back = await app.admin(reader)
    for (let i = 0; i < 3; i++) await back.next(topic)
    await expect.poll(queued).toBe(messages)
    await back.end()
    await limb.publish(topic, 'once more')
    expect(await queued()).toBe(messages + 1)
    const forgets = await app.admin({ clean: true, clientId: 'away-reader' })
    await expect.poll(queued).toBe(messages)
    await forgets.end()
  })
})

describe('alerts and dashboard', () => {
  const dashboard = JSON.parse(readFileSync(join(ROOT, 'config/grafana-dashboard.json'), 'utf8')) as {
    panels: {
      title: string
      targets?: { expr: string }[]
      gridPos: { x: number; y: number; w: number; h: number }
    }[]
  }
  const queries = dashboard.panels.flatMap(({ targets = [] }) =>
    targets.map(({ expr }) => expr.replaceAll('$__rate_interval', '5m').replaceAll('$instance', '.*')),
  )

  test('read only metrics that a bridge really has', async () => {
    const { queryable } = await scrape()
    const read = [...alerts().map(({ expr }) => expr), ...queries].flatMap(metricsIn)
    expect(read.length).toBeGreaterThan(40)
    expect(read.filter((name) => name !== 'up' && !queryable.has(name))).toEqual([])
  })

  test('every metric of the bridge is on the dashboard or in an alert', async () => {
    const read = new Set([...alerts().map(({ expr }) => expr), ...queries].flatMap(metricsIn))
    const { types } = await scrape()
    const unused = [...types.keys()].filter(
      (name) =>
        name.startsWith('limb_') && ![name, `${name}_bucket`, `${name}_sum`].some((each) => read.has(each)),
    )
    expect(unused, 'add a panel to scripts/grafana.ts, or an alert; then `npm run docs`').toEqual([])
  })

  test('the dashboard has only expressions that Prometheus understands, and no panel upon another', (context) => {
    skipWithout(context, 'promtool')
    const rules = queries.map((expr, i) => ({ record: `q:${i}`, expr }))
    const { ok, said } = promtoolOn(['check', 'rules'], { groups: [{ name: 'dashboard', rules }] })
    expect(said).toContain(`${rules.length} rules found`)
    expect(ok).toBe(true)
    const cells = dashboard.panels.flatMap(({ title, gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => [`${x + (i % w)},${y + Math.floor(i / w)}`, title] as const),
    )
    expect(new Set(cells.map(([cell]) => cell)).size).toBe(cells.length)
    expect(Math.max(...cells.map(([cell]) => Number(cell.split(',')[0])))).toBeLessThan(24)
  })
})
