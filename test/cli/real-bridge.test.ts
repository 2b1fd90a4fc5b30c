import { rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../src/kernel/clock.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { type RunOptions, run, start } from './run.ts'

/** The command line against the bridge itself: what both sides say of the protocol is the same. */

let app: TestApp & AsyncDisposable
beforeEach(async () => {
  app = await startApp({ http: { enabled: true, port: 0 } }, { memory: true })
})
afterEach(() => app[Symbol.asyncDispose]())

const local = (argv: string[], options?: RunOptions) =>
  run([...argv, '--socket', app.bridge.control], options)
const url = () => `mqtt://127.0.0.1:${app.bridge.mqtt.port}`

async function json(...argv: string[]) {
  const { code, out, err } = await local([...argv, '--json'])
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out)
}

test('a request is approved with its code, renamed, given a policy, and revoked', async () => {
  const device = await app.device('cam1', 'k'.repeat(30))
  await device.subscribe('limb/node/cam1/pairing')
  await device.publish('limb/node/cam1/register', { displayName: 'Cam', platform: 'esp32', capabilities: [] })
  const { json: answer } = await device.next('limb/node/cam1/pairing')

  const started = start(['pairing', 'approve', '--socket', app.bridge.control], { terminal: true })
  await started.seen('Which one?')
  started.stdin.write('\n')
  await started.seen(`${String(answer.code).slice(0, 4)} ${String(answer.code).slice(4)}? [y/N]`)
  started.stdin.write('y\n')
  expect((await started.exit).code).toBe(0)

  expect((await json('node', 'rename', 'cam1', 'Front door')).displayName).toBe('Front door')
  await json('policy', 'set', '*', 'cam1', 'camera', 'denied')
  expect((await json('policy', 'list')).items).toMatchObject([{ nodeId: 'cam1', level: 'denied' }])
  expect(await json('policy', 'explain', 'bob', 'cam1', 'camera')).toMatchObject({ level: 'denied' })
  expect(await json('status')).toMatchObject({ nodes: { approved: 1 }, pending: [] })
  expect((await json('watch', '--once')).items).toMatchObject([{ nodeId: 'cam1', displayName: 'Front door' }])
  await json('node', 'revoke', 'cam1')
  expect((await local(['node', 'get', 'cam1'])).code).toBe(4)
})

test('a principal signs in from afar with the password that was told, and its role is its bound', async () => {
  const { password } = await json('principal', 'add', 'bob', 'viewer')
  const env = { LIMB_PASSWORD: password }
  const remote = ['--url', url(), '--user', 'bob']
  expect((await run(['node', 'list', ...remote], { env })).code).toBe(0)
  expect((await run(['status', ...remote], { env })).code).toBe(0)
  expect((await run(['node', 'list', ...remote], { env: { LIMB_PASSWORD: 'wrong-wrong' } })).code).toBe(3)
  const overWebSocket = ['--url', `ws://127.0.0.1:${app.bridge.http?.port}/mqtt`, '--user', 'bob']
  expect((await run(['node', 'list', ...overWebSocket], { env })).code).toBe(0)
})

test.each(['', '/'])(
  'a WebSocket address that ends with %j instead of a path is that of the bridge',
  async (end) => {
    const { password } = await json('principal', 'add', 'bob', 'viewer')
    const address = `ws://127.0.0.1:${app.bridge.http?.port}${end}`
    const remote = ['node', 'list', '--url', address, '--user', 'bob', '--json']
    const { code, out } = await run(remote, { env: { LIMB_PASSWORD: password } })
    expect([code, JSON.parse(out)]).toEqual([0, { items: [] }])
  },
)

test.each(['nobody', 'cam1'])(
  '--user %s, a name that no principal has, is told so, and is 3',
  async (name) => {
    await app.limb('cam1')
    const env = { LIMB_PASSWORD: 'some password' }
    const remote = ['node', 'list', '--url', url(), '--user', name, '--json']
    const { code, err, out } = await run(remote, { env })
    expect([code, err]).toEqual([3, expect.stringMatching(/there is no principal of that name/)])
    expect(JSON.parse(out)).toMatchObject({ error: { code: 'unreachable' } })
  },
)

test('LIMB_URL names the bridge and the principal, unless an option does', async () => {
  const { password } = await json('principal', 'add', 'bob', 'viewer')
  await app.limb('cam1')
  const env = { LIMB_URL: url().replace('mqtt://', 'mqtt://bob@'), LIMB_PASSWORD: password }
  expect((await run(['node', 'list'], { env })).out).toContain('cam1')
  expect((await run(['node', 'rename', 'cam1', 'Door'], { env })).code).toBe(1)
  expect((await local(['node', 'rename', 'cam1', 'Door'], { env })).out).toBe('cam1 is called Door now.\n')
  const bad = await run(['node', 'list'], { env: { LIMB_URL: 'http://bridge.lan' } })
  expect([bad.code, bad.err]).toEqual([2, expect.stringContaining('LIMB_URL: "http://bridge.lan" is not')])
})

test('thousands of limbs are imported from a file and listed over several pages', async () => {
  const file = join(app.folder, 'fleet.jsonl')
  writeFileSync(file, Array.from({ length: 2500 }, (_, i) => `{"nodeId":"n${i}"}\n`).join(''))
  const { code, out } = await local(['node', 'import', file, '--json'])
  expect([code, JSON.parse(out).items.length]).toEqual([0, 2500])
  expect((await json('node', 'list')).items).toHaveLength(2500)
})

test('watch tells since when a limb is what it is, and that it was revoked', async () => {
  await app.limb('cam1')
  const { since } = await json('node', 'get', 'cam1')
  const started = start(['watch', '--json', '--socket', app.bridge.control])
  await started.seen('offline')
  await json('node', 'revoke', 'cam1')
  await started.seen('removed')
  started.interrupt()
  const lines = (await started.exit).out.trimEnd().split('\n')
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    { at: since, nodeId: 'cam1', status: 'offline' },
    { at: expect.any(String), nodeId: 'cam1', status: 'removed' },
  ])
})

test('simulated limbs are approved and come online; a stranger who asks meanwhile is not let in', async () => {
  const argv = ['simulate', '--nodes', '12', '--approve', '--url', url(), '--socket', app.bridge.control]
  const started = start(argv)
  await started.seen('12 approved')
  expect(await json('status')).not.toHaveProperty('pairingWindow')
  const stranger = await app.device('stranger', 'k'.repeat(30))
  await stranger.subscribe('limb/node/stranger/pairing')
  await stranger.publish('limb/node/stranger/register', {
    displayName: 'Stranger',
    platform: 'esp32',
    capabilities: [],
  })
  expect((await stranger.next('limb/node/stranger/pairing')).json).toMatchObject({ status: 'pending' })
  expect((await json('node', 'list', '--status', 'online')).items.length).toBeGreaterThan(0)
  started.interrupt()
  expect((await started.exit).code).toBe(0)
  expect((await json('pairing', 'list')).items).toMatchObject([{ nodeId: 'stranger' }])
})

test('simulated limbs are the same at the next run, and answer invocations', async () => {
  const argv = ['simulate', '--nodes', '2', '--approve', '--url', url(), '--socket', app.bridge.control]
  for (const _run of ['first', 'second']) {
    const started = start(argv)
    await started.seen('2 approved')
    // The second one is a thermometer, for everybody.
    const params = ['--params', '{"unit":"C"}']
    expect((await json('invoke', 'temperature.read', '--node-id', 'sim-2', ...params)).data).toEqual({
      simulated: true,
      command: 'temperature.read',
      params: { unit: 'C' },
    })
    started.interrupt()
    expect((await started.exit).out).toMatch(/done: \d+ heartbeats, \d+ drops, 1 invocations/)
  }
  expect(statSync(join(app.folder, 'simulate-secret')).mode & 0o777).toBe(0o600)
})

test('simulated limbs that wait in spite of --approve are told why, and what to do', async () => {
  const clock = { ...systemClock, after: (ms: number, task: () => void) => systemClock.after(ms / 10, task) }
  const argv = ['simulate', '--nodes', '2', '--approve', '--url', url(), '--socket', app.bridge.control]
  const first = start(argv)
  await first.seen('2 approved')
  first.interrupt()
  await first.exit
  rmSync(join(app.folder, 'simulate-secret'))
  const second = start(argv, { clock })
  await second.seen(/2 limbs wait: .*another key.*pairing list.*--prefix/)
  second.interrupt()
  expect((await second.exit).code).toBe(0)
})

test('why tells its advice in sentences of their own', async () => {
  const { out } = await local(['why', 'nobody'])
  expect(out).toMatch(/\n\n?[^[\n]*nobody[^\n]*\n$/)
  expect(out).not.toContain('["')
})
