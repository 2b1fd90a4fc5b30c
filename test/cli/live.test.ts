import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/kernel/clock.ts'
import { type FakeBridge, startFakeBridge } from './fake-bridge.ts'
import { run, start } from './run.ts'

let bridge: FakeBridge
beforeEach(async () => {
  bridge = await startFakeBridge()
})
afterEach(() => bridge.stop())

const state = (nodeId: string, status: string, more: object = {}) => ({
  nodeId,
  displayName: `Limb ${nodeId}`,
  platform: 'esp32',
  capabilities: [],
  status,
  reason: 'heartbeat',
  since: new Date().toISOString(),
  lastHeartbeatAt: new Date().toISOString(),
  ...more,
})

describe('status', () => {
  const info = {
    version: '9.9.9',
    protocol: 1,
    startedAt: new Date(Date.now() - 7_200_000).toISOString(),
    nodes: { approved: 12, online: 7, pending: 1 },
    pairingWindow: { until: new Date(Date.now() + 299_000).toISOString(), max: 3 },
  }
  const pending = { requestId: 'r1', nodeId: 'cam1', code: 'BCDFGHJK', conflict: false }
  const health = {
    ready: true,
    reasons: [],
    pendingRequests: 1,
    waitingCalls: 0,
    uplinks: [
      { name: 'home', connected: true },
      { name: 'cloud', connected: false },
    ],
    lastBackupAt: new Date(Date.now() - 10_800_000).toISOString(),
  }
  beforeEach(() => {
    bridge.answers['bridge/health'] = () => health
    bridge.answers['pairing/list'] = () => ({ items: [] })
  })

  test('shows the bridge, its counts, the window, and who waits with which code', async () => {
    await bridge.publish('limb/bridge/info', info, true)
    bridge.answers['pairing/list'] = () => ({ items: [pending] })
    const { code, out } = await run(['status', '--socket', bridge.socket])
    expect(code).toBe(0)
    expect(out).toContain('9.9.9, protocol 1')
    expect(out).toContain('12 approved, 7 online')
    expect(out).toMatch(/started: +2h ago/)
    expect(out).toMatch(/OPEN, closes in \d+[ms], 3 more limbs/)
    expect(out).toContain('BCDF GHJK')
    expect(out).toMatch(/ready: +yes/)
    expect(out).toMatch(/uplinks: +home up, cloud DOWN/)
    expect(out).toMatch(/last backup: +3h ago/)
    const json = await run(['status', '--socket', bridge.socket, '--json'])
    expect(JSON.parse(json.out)).toEqual({ ...info, health, pending: [pending] })
  })

  test('a bridge that is not ready is told with its reasons, and is 1', async () => {
    await bridge.publish('limb/bridge/info', info, true)
    const reasons = ['database: it is full', 'disk: 12 KiB are left for the database; make room']
    bridge.answers['bridge/health'] = () => ({ ...health, ready: false, reasons, waitingCalls: 2 })
    const { code, out } = await run(['status', '--socket', bridge.socket])
    expect(code).toBe(1)
    expect(out).toMatch(/ready: +NO; database: it is full; disk: 12 KiB are left/)
    expect(out).toMatch(/waiting invocations: +2/)
    expect(out).toContain('limb-bridge invocation approve')
    expect((await run(['status', '--socket', bridge.socket, '--json'])).code).toBe(1)
  })

  test('a bridge that publishes no info is told within a bounded wait', async () => {
    const clock = {
      ...systemClock,
      // What is waited for is the end of its wait; the requests beside it have their time.
      after: (ms: number, task: () => void) => systemClock.after(ms === 5000 ? 100 : ms, task),
    }
    const { code, err } = await run(['status', '--socket', bridge.socket], { clock })
    expect([code, err]).toEqual([3, expect.stringContaining('limb/bridge/info')])
  })
})

describe('watch', () => {
  test('--once prints the table and ends', async () => {
    bridge.answers['node/list'] = () => ({ items: [state('cam1', 'online')] })
    const { code, out } = await run(['watch', '--once', '--socket', bridge.socket])
    expect([code, out]).toEqual([0, expect.stringContaining('Limb cam1')])
  })

  test('without a terminal each change is a line', async () => {
    await bridge.publish('limb/node/cam1/status', 'online', true)
    const started = start(['watch', '--socket', bridge.socket])
    await started.seen(/Z {2}cam1 {2}online\n/)
    await bridge.publish('limb/node/cam1/state', state('cam1', 'online'), true)
    await bridge.publish('limb/node/cam1/status', 'offline', true)
    await started.seen(/cam1 {2}offline\n/)
    await bridge.publish('limb/node/cam1/status', '', true)
    await started.seen(/cam1 {2}removed\n/)
    started.interrupt()
    const { code, out } = await started.exit
    expect(code).toBe(0)
    expect(out.trimEnd().split('\n')).toHaveLength(3)
  })

  test('what was retained has the time of its change, not the time when it was read', async () => {
    const since = '2026-01-02T03:04:05.678Z'
    await bridge.publish('limb/node/cam1/state', state('cam1', 'online', { since }), true)
    const started = start(['watch', '--socket', bridge.socket])
    await started.seen('cam1')
    await bridge.publish('limb/node/cam1/status', 'offline', true)
    await started.seen('offline')
    await bridge.publish('limb/node/cam1/state', '', true)
    await started.seen('removed')
    started.interrupt()
    const lines = (await started.exit).out.trimEnd().split('\n')
    expect(lines).toEqual([
      `${since}  cam1  online`,
      expect.stringMatching(/^20\S+ {2}cam1 {2}offline$/),
      expect.stringMatching(/^20\S+ {2}cam1 {2}removed$/),
    ])
    expect(lines[1]).not.toContain(since)
  })

  test('ends without a word when whoever reads has seen enough, as `head` has', async () => {
    await bridge.publish('limb/node/cam1/status', 'online', true)
    const main = join(import.meta.dirname, '../../src/main.ts')
    const watching = spawn(process.execPath, [main, 'watch', '--socket', bridge.socket])
    const errors: string[] = []
    watching.stderr.on('data', (chunk) => errors.push(String(chunk)))
    await once(watching.stdout, 'data')
    watching.stdout.destroy()
    const again = setInterval(() => {
      for (const status of ['busy', 'online']) void bridge.publish('limb/node/cam1/status', status, true)
    }, 50)
    const [code] = await once(watching, 'exit')
    clearInterval(again)
    expect([code, errors.join('')]).toEqual([0, ''])
  })

  test('with --json each change is a JSON line', async () => {
    const started = start(['watch', '--json', '--socket', bridge.socket])
    const again = setInterval(() => void bridge.publish('limb/node/cam1/status', 'busy', true), 20)
    await started.seen('busy')
    clearInterval(again)
    started.interrupt()
    expect(JSON.parse((await started.exit).out)).toEqual({
      at: expect.stringMatching(/Z$/),
      nodeId: 'cam1',
      status: 'busy',
    })
  })

  test('on a terminal the table is redrawn, and the screen is given back at the end', async () => {
    await bridge.publish('limb/node/cam1/state', state('cam1', 'online'), true)
    const started = start(['watch', '--socket', bridge.socket], { terminal: true })
    await started.seen('Limb cam1')
    await started.seen('1 limbs, 1 online')
    await bridge.publish('limb/node/cam2/state', state('cam2', 'offline', { displayName: 'x\x1b[31m' }), true)
    await started.seen('2 limbs, 1 online')
    expect(started.out()).toContain('x\\x1b[31m')
    started.interrupt()
    const { code, out } = await started.exit
    expect(code).toBe(0)
    expect(out.startsWith('\x1b[?1049h\x1b[?25l')).toBe(true)
    expect(out.endsWith('\x1b[?25h\x1b[?1049l')).toBe(true)
  })

  test('a small terminal shows what fits, and how many more there are', async () => {
    for (let i = 0; i < 20; i++) await bridge.publish(`limb/node/n${i}/state`, state(`n${i}`, 'online'), true)
    const started = start(['watch', '--socket', bridge.socket], { terminal: true, rows: 10, columns: 40 })
    await started.seen('and 15 more')
    started.interrupt()
    const { out } = await started.exit
    const frame = out.slice(out.lastIndexOf('\x1b[H') + 3, out.lastIndexOf('\x1b[J')).split('\n')
    expect(frame.length).toBeLessThanOrEqual(10)
    expect(Math.max(...frame.map((line) => line.replace('\x1b[K', '').length))).toBeLessThanOrEqual(40)
  })

  test('keys move the table, and q ends it and gives the keys back', async () => {
    for (let i = 10; i < 30; i++)
      await bridge.publish(`limb/node/n${i}/state`, state(`n${i}`, 'online'), true)
    const started = start(['watch', '--socket', bridge.socket], { terminal: true, rows: 10, columns: 90 })
    await started.seen('and 15 more below')
    started.stdin.write('\x1b[6~')
    await started.seen('10 more above, 5 below')
    started.stdin.write('\x1b[B\x1b[B')
    await started.seen('12 more above, 3 below')
    started.stdin.write('G')
    await started.seen('15 more above, 0 below')
    const frame = started.out().slice(started.out().lastIndexOf('\x1b[H'))
    expect([frame.includes('Limb n29'), frame.includes('Limb n10')]).toEqual([true, false])
    started.stdin.write('q')
    expect((await started.exit).code).toBe(0)
    expect(started.stdin.listenerCount('data')).toBe(0)
  })

  test('requests and invocations that wait for a person stand above the table until they are decided', async () => {
    await bridge.publish('limb/node/cam1/state', state('cam1', 'online'), true)
    await bridge.publish('limb/bridge/pairing/pr_1', { nodeId: 'cam9', code: 'BCDFGHJK' }, true)
    const call = { command: 'saw.cut', nodeId: 'r1', principal: 'ann' }
    await bridge.publish('limb/bridge/approval/iv_1', call, true)
    const started = start(['watch', '--socket', bridge.socket], { terminal: true })
    await started.seen('1 request waits: pairing approve: cam9 BCDF GHJK')
    await started.seen('1 invocation waits: invocation approve: saw.cut on r1 for ann')
    await bridge.publish('limb/bridge/pairing/pr_1', '', true)
    await bridge.publish('limb/bridge/approval/iv_1', '', true)
    await started.seen('Ctrl-C ends.\x1b[K\n\x1b[K\nNODE')
    started.interrupt()
    expect((await started.exit).code).toBe(0)
  })

  test('--status shows the limbs of that status alone, in the table, once, and as lines', async () => {
    await bridge.publish('limb/node/cam1/state', state('cam1', 'online'), true)
    await bridge.publish('limb/node/cam2/state', state('cam2', 'offline'), true)
    const live = start(['watch', '--status', 'offline', '--socket', bridge.socket], { terminal: true })
    await live.seen('2 limbs, 1 online; 1 offline below')
    expect(live.out()).not.toContain('Limb cam1')
    live.interrupt()
    await live.exit
    bridge.answers['node/list'] = ({ status }) => ({ items: [state('cam2', String(status))] })
    const once = ['watch', '--once', '--status', 'offline', '--socket', bridge.socket]
    expect((await run(once)).out).toContain('Limb cam2')
    const lines = start(['watch', '--json', '--status', 'offline', '--socket', bridge.socket])
    await lines.seen('cam2')
    lines.interrupt()
    expect((await lines.exit).out).not.toContain('cam1')
    expect((await run(['watch', '--status', 'gone'])).code).toBe(2)
  })

  test('a lost bridge is told, and the table is new when it is back', async () => {
    await bridge.publish('limb/node/cam1/state', state('cam1', 'online'), true)
    const started = start(['watch', '--socket', bridge.socket], { terminal: true })
    await started.seen('1 limbs')
    bridge.dropAll()
    await started.seen('NOT REACHABLE')
    // Revoked while nobody listened: no message will ever say so.
    await bridge.publish('limb/node/cam1/state', '', true)
    await bridge.publish('limb/node/cam2/state', state('cam2', 'online'), true)
    await started.seen('Limb cam2')
    await started.seen('1 limbs, 1 online')
    expect(started.out().slice(started.out().lastIndexOf('\x1b[H'))).not.toContain('cam1')
    started.interrupt()
    expect((await started.exit).code).toBe(0)
  })
})

describe('simulate', () => {
  /** Plays the pairing part of the bridge: approves who may, tells the others that there are too many. */
  function pair(mayPair: (nodeId: string) => boolean, message = 'ten are pending already') {
    const heard = { registered: [] as string[], heartbeats: [] as string[], usernames: new Set<string>() }
    bridge.onPublish = (topic, payload) => {
      const [, , nodeId = '', leaf] = topic.split('/')
      if (leaf === 'heartbeat') heard.heartbeats.push(nodeId)
      if (leaf !== 'register') return
      heard.registered.push(nodeId)
      expect(JSON.parse(payload.toString())).toMatchObject({ heartbeatSeconds: 5 })
      const answer = mayPair(nodeId)
        ? { status: 'approved', heartbeatSeconds: 5, timeoutSeconds: 15, capabilities: [] }
        : { status: 'error', error: { code: 'too_many_requests', message } }
      void bridge.publish(`limb/node/${nodeId}/pairing`, answer)
    }
    return heard
  }
  const fast = { ...systemClock, after: (ms: number, task: () => void) => systemClock.after(ms / 20, task) }

  test('limbs register, send heartbeats, drop, come back, and stop cleanly', async () => {
    const heard = pair(() => true)
    const started = start(
      ['simulate', '--nodes', '4', '--url', bridge.url, '--drop-percent', '50', '--heartbeat-seconds', '1'],
      { clock: fast },
    )
    await started.seen('4 approved')
    await new Promise<void>((resolve) => {
      const look = setInterval(() => {
        // Registered again after a drop.
        if (heard.registered.length > 6 && new Set(heard.heartbeats).size === 4) {
          clearInterval(look)
          resolve()
        }
      }, 20)
    })
    started.interrupt()
    const { code, out } = await started.exit
    expect(code).toBe(0)
    expect(out).toMatch(/done: \d+ heartbeats, [1-9]\d* drops/)
    expect(new Set(heard.registered)).toEqual(new Set(['sim-1', 'sim-2', 'sim-3', 'sim-4']))
  })

  test('told too_many_requests, a limb waits and asks again', async () => {
    let refusals = 0
    const heard = pair(() => refusals++ > 2)
    const started = start(['simulate', '--nodes', '1', '--url', bridge.url, '--prefix', 'x'], { clock: fast })
    await started.seen('1 approved')
    started.interrupt()
    await started.exit
    expect(heard.registered.length).toBeGreaterThan(3)
  })

  test('what a bridge says of its refusal reaches no terminal as it is', async () => {
    pair(() => false, 'ten\x1b]0;mine\x07 are\npending')
    const started = start(['simulate', '--nodes', '1', '--url', bridge.url], { clock: fast, terminal: true })
    await started.seen('last trouble: ten')
    started.interrupt()
    const { out } = await started.exit
    for (const obeyed of ['\x1b]', '\x07', '\npending']) expect(out).not.toContain(obeyed)
  })

  test('--approve approves its own limbs by their codes, replaces no key, and opens no window', async () => {
    const codes: Record<string, string> = { 'sim-1': 'BCDFGHJK', 'sim-2': 'LMNPQRST' }
    const approved = new Set<string>()
    bridge.onPublish = (topic) => {
      const [, , nodeId = '', leaf] = topic.split('/')
      if (leaf !== 'register') return
      const expiresAt = new Date().toISOString()
      const answer = { status: 'pending', requestId: `pr_${nodeId}`, code: codes[nodeId], expiresAt }
      void bridge.publish(`limb/node/${nodeId}/pairing`, answer)
    }
    bridge.answers['pairing/list'] = ({ after }) => ({
      items: Object.keys(codes)
        .map((nodeId) => ({
          requestId: `pr_${nodeId}`,
          revision: 4,
          kind: nodeId === 'sim-1' ? 'new' : 'replace',
        }))
        .filter(({ requestId }) => requestId > String(after)),
    })
    bridge.answers['pairing/approve'] = ({ requestId }) => {
      approved.add(String(requestId))
      return {}
    }
    const argv = ['simulate', '--nodes', '2', '--url', bridge.url, '--approve', '--socket', bridge.socket]
    const started = start(argv, { clock: fast })
    await started.seen('another key')
    started.interrupt()
    expect((await started.exit).code).toBe(0)
    expect(bridge.requests.filter(({ verb }) => verb !== 'pairing/list')).toEqual([
      {
        verb: 'pairing/approve',
        principal: 'admin',
        args: { requestId: 'pr_sim-1', revision: 4, code: 'BCDFGHJK' },
      },
    ])
  })

  test('a bridge that is not there is 3 at the end, with what went wrong', async () => {
    const { url } = bridge
    await bridge.stop()
    const { code, err } = await run(['simulate', '--nodes', '2', '--url', url, '--seconds', '5'], {
      clock: fast,
    })
    expect([code, err]).toEqual([3, expect.stringContaining('ECONNREFUSED')])
    bridge = await startFakeBridge()
  })

  test('one seed gives the same keys, and no seed gives new ones', async () => {
    const { chanceOf } = await import('../../src/cli/simulate/simulated-random.ts')
    const [a, b] = [chanceOf('seed', 'sim-1'), chanceOf('seed', 'sim-1')]
    expect([a.key, a.next(), a.next()]).toEqual([b.key, b.next(), b.next()])
    expect(chanceOf('seed', 'sim-2').key).not.toBe(a.key)
    expect(chanceOf(undefined, 'sim-1').key).not.toBe(chanceOf(undefined, 'sim-1').key)
    const kept = chanceOf(undefined, 'sim-1', 'secret')
    expect(chanceOf(undefined, 'sim-1', 'secret').key).toBe(kept.key)
    expect(chanceOf(undefined, 'sim-2', 'secret').key).not.toBe(kept.key)
    expect(chanceOf(undefined, 'sim-1', 'another').key).not.toBe(kept.key)
  })

  test.each([
    [['--nodes', '0'], '1 to 20000'],
    [['--nodes', '1.5'], 'whole number'],
    [['--drop-percent', '101'], '0 to 100'],
    [['--prefix', 'a b'], 'makes no nodeId'],
  ])('%j is wrong usage', async (argv, text) => {
    const { code, err } = await run(['simulate', ...argv])
    expect([code, err]).toEqual([2, expect.stringContaining(text)])
  })
})
