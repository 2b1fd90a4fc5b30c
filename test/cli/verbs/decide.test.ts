import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { escapeText } from '../../../src/kernel/escape-text.ts'
import { startApp, type TestApp } from '../../support/app.ts'
import type { TestClient } from '../../support/client.ts'
import { agent, send, type Worker, worker } from '../../support/worker.ts'
import { run, start } from '../run.ts'

/** `invocation approve` and `invocation deny` without an invocation, against the bridge itself. */

let app: TestApp & AsyncDisposable
let robot: Worker
let ann: TestClient
let admin: TestClient
beforeEach(async () => {
  app = await startApp({}, { memory: true })
  robot = await worker(app, 'r1')
  ann = await agent(app, 'ann')
  admin = await app.admin()
  await admin.subscribe('limb/bridge/approval/+')
})
afterEach(() => app[Symbol.asyncDispose]())

/** An invocation that waits: its id, and what ends with its answer. */
async function gated(params: object) {
  const answer = await send(ann, 'ann', 'invoke', { nodeId: 'r1', command: 'saw.cut', params })
  const { json } = await admin.next((message) => message.topic.includes('/approval/') && message.text !== '')
  return { id: String(json.invocationId), answer }
}

const local = (...argv: string[]) => run([...argv, '--socket', app.bridge.control])
const dialogue = (...argv: string[]) =>
  start([...argv, '--socket', app.bridge.control], { terminal: true, columns: 60 })

describe('invocation approve without a call', () => {
  test('shows each invocation with its params, asks which and whether, and lets that one run', async () => {
    const first = await gated({ depth: 1 })
    const second = await gated({ depth: 2, mode: 'fast' })
    const started = dialogue('invocation', 'approve', '--reason', 'blade is clear')
    await started.seen('Which one?')
    expect(started.out()).toContain(first.id)
    expect(started.out()).toMatch(/principal: +ann\nlimb: +r1\ncommand: +saw\.cut\n/)
    expect(started.out()).toMatch(/expires: +in \d+[smh]/)
    expect(started.out()).toContain('  | {\n  |   "depth": 2,\n  |   "mode": "fast"\n  | }\n')
    started.stdin.write('2\n')
    await started.seen('Let ann run saw.cut on r1 with these params, once? [y/N]')
    started.stdin.write('y\n')
    expect((await started.exit).code).toBe(0)
    const told = await robot.next()
    expect(told).toMatchObject({ invocationId: second.id, params: { depth: 2 } })
    await robot.answer(told)
    expect((await second.answer()).ok).toBe(true)
    const { items } = await admin.do('admin', 'audit/list', { kind: 'invocation.approved' })
    expect(items).toMatchObject([{ detail: { invocationId: second.id, reason: 'blade is clear' } }])
    expect(robot.told).toHaveLength(1)
  })

  test('a name that several invocations have, and anything but yes, approve nothing', async () => {
    const { id } = await gated({ depth: 1 })
    const no = dialogue('invocation', 'approve')
    await no.seen('Which one?')
    no.stdin.write('\n\n')
    const refused = await no.exit
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining(`invocation deny ${id}`)])
    await gated({ depth: 2 })
    const which = dialogue('invocation', 'approve')
    await which.seen('Which one?')
    which.stdin.write('ann\n')
    const { code, err } = await which.exit
    expect([code, err]).toEqual([1, expect.stringContaining('there are 2 invocations of ann')])
    expect((await admin.do('admin', 'invocation/list', { state: 'waiting' })).items).toHaveLength(2)
  })

  test('params obey no terminal, start no line of their own, and end somewhere', async () => {
    const spoof = `\u001b[2J\u202e${' '.repeat(70)}principal: operator`
    await gated({ spoof, list: Array.from({ length: 9000 }, (_, i) => i) })
    const started = dialogue('invocation', 'approve')
    await started.seen('Which one?')
    started.stdin.write('\n')
    await started.seen('[y/N]')
    started.stdin.end()
    expect((await started.exit).code).toBe(130)
    const out = started.out()
    // The questions after it move the cursor themselves.
    const shownFirst = out.slice(0, out.indexOf('CAREFUL') + 7)
    expect(escapeText(shownFirst.replaceAll('\n', ''))).toBe(shownFirst.replaceAll('\n', ''))
    expect(shownFirst).toContain('\\u001b[2J\\u202e')
    const params = shownFirst.slice(shownFirst.indexOf('params:\n') + 8, shownFirst.indexOf('CAREFUL'))
    for (const line of params.trimEnd().split('\n')) expect(line).toMatch(/^ {2}\| .{0,55}$/)
    expect(out.match(/CAREFUL: the params are longer/g)).toHaveLength(2)
    expect(out.split('\n').length).toBeLessThan(300)
  })

  test('without a terminal it prints the list and exits 2; with nothing to decide it says so', async () => {
    expect(await local('invocation', 'approve')).toMatchObject({
      code: 0,
      out: 'No invocation waits for an approval.\n',
    })
    const { id } = await gated({ depth: 1 })
    for (const decision of ['approve', 'deny']) {
      const { code, out, err } = await local('invocation', decision)
      expect([code, out, err]).toEqual([
        2,
        expect.stringMatching(new RegExp(`${id}[^]*"depth": 1`)),
        expect.stringContaining(`invocation ${decision} INVOCATION`),
      ])
    }
  })
})

test('invocation approve says so, and exits 1, when the invocation could not be sent', async () => {
  const { id, answer } = await gated({ depth: 1 })
  await robot.client.publish('limb/node/r1/heartbeat', { unavailable: ['saw'] })
  const { code, out, err } = await local('invocation', 'approve', id)
  expect([code, out, err]).toEqual([
    1,
    expect.stringMatching(/state: +failed/),
    expect.stringMatching(/approved and could not be sent: .*\(capability_unavailable\)/),
  ])
  expect((await answer()).error.code).toBe('capability_unavailable')
  expect(robot.told).toEqual([])
})

test('invocation deny without an invocation asks which, whether and why, and the caller is told', async () => {
  const { id, answer } = await gated({ depth: 1 })
  const started = dialogue('invocation', 'deny', '--json')
  await started.seen('Which one?')
  started.stdin.write('r1\n')
  await started.seen('Refuse saw.cut on r1 to ann? [y/N]')
  started.stdin.write('yes\n')
  await started.seen('Why?')
  started.stdin.write('somebody is in the room\n')
  const { code, out } = await started.exit
  expect(code).toBe(0)
  expect(JSON.parse(out.slice(out.lastIndexOf('\n{\n')))).toMatchObject({
    invocationId: id,
    state: 'denied',
    reason: 'somebody is in the room',
  })
  expect((await answer()).error.message).toBe('admin denied it: somebody is in the room')
  expect(robot.told).toEqual([])
})
