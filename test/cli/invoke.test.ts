import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Bridge, OnMessage } from '../../src/cli/session/session.ts'
import { canonicalJson } from '../../src/domain/canonical.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { sha256Hex } from '../../src/kernel/secrets.ts'
import { ApprovalWatch } from '../../src/mcp/approval-watch.ts'
import { topicsOf } from '../../src/protocol/topics.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { type Worker, worker } from '../support/worker.ts'
import { run, start } from './run.ts'

/** `invoke` against the bridge itself, at each level. */

let app: TestApp & AsyncDisposable
let robot: Worker
beforeEach(async () => {
  app = await startApp({}, { memory: true })
  robot = await worker(app, 'r1')
})
afterEach(() => app[Symbol.asyncDispose]())

const invoke = (...argv: string[]) => start(['invoke', ...argv, '--socket', app.bridge.control])

test.each([
  ['camera.snap', ['--node-id', 'r1']],
  ['camera.snap', ['--capability', 'camera']],
  ['arm.move', ['--node-id', 'r1', '--wait-seconds', '1']],
])('%s %j runs with its params as they are, and prints the result', async (command, argv) => {
  const started = invoke(command, ...argv, '--params', '{"zoom":2}', '--json')
  const told = await robot.next()
  expect(told).toMatchObject({ command, params: { zoom: 2 }, principal: 'admin' })
  await robot.answer(told)
  const { code, out, err } = await started.exit
  expect([code, err]).toEqual([0, ''])
  expect(JSON.parse(out)).toMatchObject({ nodeId: 'r1', data: { did: command } })
})

test('a gated invocation says on standard error that it waits, and the command it names lets it run', async () => {
  const cut = ['saw.cut', '--node-id', 'r1', '--params', '{"depth":3}']
  // An equal invocation that waits already is not mistaken for the new one.
  const earlier = invoke(...cut)
  await earlier.seen('waits for a person')
  const started = invoke(...cut, '--json')
  await started.seen('waits for a person')
  const approve = (text: string) => /limb-bridge invocation approve (\S+)/.exec(text)?.[1] ?? ''
  const id = approve(started.err())
  expect(id).not.toBe(approve(earlier.err()))
  expect(started.out()).toBe('')
  const approved = await run(['invocation', 'approve', id, '--socket', app.bridge.control])
  expect(approved.code).toBe(0)
  const told = await robot.next()
  expect(told.invocationId).toBe(id)
  await robot.answer(told)
  const { code, out, err } = await started.exit
  expect([code, JSON.parse(out).invocationId]).toEqual([0, id])
  expect(err.match(/waits for a person/g)).toHaveLength(1)
  const denied = [
    'invocation',
    'deny',
    approve(earlier.err()),
    '--reason',
    'no',
    '--socket',
    app.bridge.control,
  ]
  expect((await run(denied)).code).toBe(0)
  expect(await earlier.exit).toMatchObject({ code: 5, err: expect.stringContaining('admin denied it: no') })
})

test('what is denied, and params that are no JSON, end at once with a reason', async () => {
  const denied = await invoke('self-destruct.go', '--node-id', 'r1').exit
  expect([denied.code, denied.err]).toEqual([5, expect.stringContaining('(denied)')])
  const wrong = await invoke('camera.snap', '--node-id', 'r1', '--params', '{zoom}').exit
  expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining('--params: not JSON')])
})

test('--help teaches an example of each level', async () => {
  const { out } = await run(['invoke', '--help'])
  for (const level of ['free', 'leased', 'gated', 'denied']) {
    expect(out).toMatch(new RegExp(`\\n {2}${level}: [^\\n]+\\n {4}limb-bridge `))
  }
})

test('an approval that was retained before the call is never told as that of the call', async () => {
  let receive: OnMessage = () => {}
  const bridge = {
    topics: topicsOf('limb'),
    watch: async (_filters: readonly string[], onMessage: OnMessage) => {
      receive = onMessage
    },
  } as unknown as Bridge
  const approvals = new ApprovalWatch(systemClock, 'ann')
  await approvals.followNew(bridge)
  const told: string[] = []
  const params = { depth: 3 }
  const stop = approvals.track({ nodeId: 'r1', command: 'saw.cut', params }, 't1', (_, text) =>
    told.push(text),
  )
  const approval = (invocationId: string) =>
    Buffer.from(
      JSON.stringify({
        invocationId,
        principal: 'ann',
        nodeId: 'r1',
        capability: 'saw',
        command: 'saw.cut',
        params,
        paramsBytes: 11,
        paramsHash: sha256Hex(canonicalJson(params)),
        requestedAt: '2026-01-01T00:00:00.000Z',
        expiresAt: '2026-01-01T00:05:00.000Z',
      }),
    )
  receive(bridge.topics.approval('iv_old'), approval('iv_old'), true)
  receive(bridge.topics.approval('iv_new'), approval('iv_new'), false)
  stop()
  expect(told).toEqual([expect.stringContaining('invocation approve iv_new')])
})

test.each([
  ['without a key', []],
  ['with a key, which would else keep it waiting', ['--idempotency-key', 'k1']],
])('Ctrl-C takes back an invocation that waits for an operator (%s), and says so', async (_how, more) => {
  const started = invoke('saw.cut', '--node-id', 'r1', ...more)
  await started.seen('waits for a person')
  started.interrupt()
  const { code, err } = await started.exit
  expect([code, err]).toEqual([130, expect.stringContaining('the invocation is cancelled, it did not run')])
  const admin = await app.admin()
  const { items } = await admin.do('admin', 'invocation/list')
  expect(items).toMatchObject([{ state: 'cancelled' }])
  expect(robot.told).toEqual([])
})

test('Ctrl-C of two equal invocations takes back its own', async () => {
  const [first, second] = [invoke('saw.cut', '--node-id', 'r1'), invoke('saw.cut', '--node-id', 'r1')]
  await first.seen('waits for a person')
  await second.seen('waits for a person')
  const idOf = (text: string) => /invocation approve (\S+)/.exec(text)?.[1] ?? ''
  const [kept, gone] = [idOf(first.err()), idOf(second.err())]
  second.interrupt()
  await second.exit
  const admin = await app.admin()
  expect((await admin.do('admin', 'invocation/get', { invocationId: gone })).state).toBe('cancelled')
  expect((await admin.do('admin', 'invocation/get', { invocationId: kept })).state).toBe('waiting')
  first.interrupt()
  await first.exit
})

test('Ctrl-C says of an invocation that the limb has that nothing can stop it', async () => {
  const started = invoke('camera.snap', '--node-id', 'r1')
  const told = await robot.next()
  started.interrupt()
  const { code, err } = await started.exit
  expect([code, err]).toEqual([130, expect.stringContaining('invocation list')])
  await robot.answer(told)
})

test('`invocation cancel` ends the invocation of another session, which is told who did it', async () => {
  const admin = await app.admin()
  const started = invoke('saw.cut', '--node-id', 'r1')
  await started.seen('waits for a person')
  const id = /invocation approve (\S+)/.exec(started.err())?.[1] ?? ''
  const cancelled = await run(['invocation', 'cancel', id, '--json', '--socket', app.bridge.control])
  expect(JSON.parse(cancelled.out)).toEqual({ invocationId: id, state: 'cancelled' })
  expect((await started.exit).err).toContain('admin cancelled it')
  expect((await admin.do('admin', 'invocation/get', { invocationId: id })).state).toBe('cancelled')
})
