import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import type { Loose } from '../support/client.ts'
import { patience } from '../support/patience.ts'

/** The MCP server by its lines: what clients do that the SDK's own client does not. */

const MAIN = resolve(import.meta.dirname, '../../src/main.ts')
const REGISTRATION = {
  displayName: 'Robot',
  platform: 'esp32',
  capabilities: [
    { cap: 'camera', commands: ['camera.snap'], authLevel: 'free' },
    { cap: 'saw', commands: ['saw.cut'], authLevel: 'gated' },
  ],
}
const INITIALIZE = {
  jsonrpc: '2.0',
  id: 'init',
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'lines', version: '1' } },
}
const INITIALIZED = { jsonrpc: '2.0', method: 'notifications/initialized' }

let app: TestApp & AsyncDisposable
let running: Server | undefined

beforeEach(async () => {
  app = await startApp()
})
afterEach(async () => {
  running?.process.kill('SIGKILL')
  running = undefined
  await app[Symbol.asyncDispose]()
})

interface Server {
  readonly process: ChildProcess
  readonly lines: Loose[]
  readonly exited: Promise<unknown[]>
  send(...messages: (object | string)[]): void
  answerTo(id: unknown): Promise<Loose>
}

function server(args: string[] = ['--socket', app.bridge.control], env: Record<string, string> = {}): Server {
  const child = spawn(process.execPath, [MAIN, 'mcp', ...args], { env, stdio: ['pipe', 'pipe', 'ignore'] })
  const lines: Loose[] = []
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(JSON.parse(line)))
  const send = (...messages: (object | string)[]) => {
    for (const message of messages)
      child.stdin.write(`${typeof message === 'string' ? message : JSON.stringify(message)}\n`)
  }
  const answerTo = async (id: unknown) => {
    const find = () => lines.find((line) => line.id === id)
    await expect.poll(find, { timeout: patience(20_000), interval: 20 }).toBeDefined()
    return find() as Loose
  }
  running = { process: child, lines, exited: once(child, 'close'), send, answerTo }
  return running
}

function toolCall(id: unknown, name: string, args: object = {}) {
  return { jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } }
}

const textOf = (answer: Loose): Loose => JSON.parse(answer.result.content[0].text)

async function robot() {
  const limb = await app.limb('robot1', REGISTRATION)
  await limb.subscribe('limb/node/robot1/invoke')
  await limb.publish('limb/node/robot1/heartbeat')
  await limb.settle()
  return limb
}

test('what was asked before the input ended is answered, and then the server ends', async () => {
  const limb = await robot()
  const mcp = server()
  mcp.send(INITIALIZE, INITIALIZED, toolCall(1, 'limb_list_available'))
  mcp.send(toolCall(2, 'limb_invoke', { nodeId: 'robot1', command: 'camera.snap' }))
  mcp.process.stdin?.end()
  const { json } = await limb.next('limb/node/robot1/invoke')
  await limb.publish('limb/node/robot1/result', {
    invocationId: json.invocationId,
    success: true,
    data: 'seen',
  })
  expect((await mcp.exited)[0]).toBe(0)
  expect((await mcp.answerTo(1)).result.structuredContent.items).toMatchObject([{ nodeId: 'robot1' }])
  expect((await mcp.answerTo(2)).result.structuredContent).toMatchObject({ data: 'seen' })
})

test('a call that nobody decides after the end of the input is taken back, answered, and the server ends', async () => {
  const limb = await robot()
  const mcp = server()
  mcp.send(INITIALIZE, INITIALIZED, toolCall(1, 'limb_invoke', { nodeId: 'robot1', command: 'saw.cut' }))
  mcp.send(toolCall(2, 'limb_invoke', { nodeId: 'robot1', command: 'camera.snap', timeoutSeconds: 100 }))
  mcp.process.stdin?.end()
  await limb.next('limb/node/robot1/invoke')
  expect((await mcp.exited)[0]).toBe(0)
  expect(textOf(await mcp.answerTo(1))).toMatchObject({ code: 'cancelled' })
  // The limb has this one: no word of it came in time.
  expect(textOf(await mcp.answerTo(2))).toMatchObject({ code: 'timeout' })
  const admin = await app.admin()
  expect((await admin.do('admin', 'invocation/list', { state: 'waiting' })).items).toEqual([])
})

test('a line that is not JSON, a batch and what is no message are answered, and the next line is served', async () => {
  const mcp = server()
  mcp.send(INITIALIZE, INITIALIZED, '{"jsonrpc": "2.0", "id": 7', [toolCall(1, 'limb_list_available')])
  mcp.send('"hello"', { jsonrpc: '2.0', id: 8 }, toolCall(2, 'limb_list_available'))
  expect((await mcp.answerTo(2)).result.structuredContent).toEqual({ items: [] })
  const refused = mcp.lines.filter((line) => line.error).map(({ id, error }) => [id, error.code])
  expect(refused).toEqual([
    [null, -32_700],
    [null, -32_600],
    [null, -32_600],
    [null, -32_600],
  ])
  // Nothing of the batch was run.
  expect(mcp.lines.some((line) => line.id === 1)).toBe(false)
})

test('a server that starts before its bridge answers, says unreachable, and works when the bridge is up', async () => {
  const admin = await app.admin()
  const { password } = await admin.do('admin', 'principal/add', { name: 'ann', role: 'operator' })
  const { port } = app.bridge.mqtt
  await app.bridge.stop()
  const mcp = server(['--socket', app.bridge.control, '--role', 'agent'])
  mcp.send(INITIALIZE, INITIALIZED, { jsonrpc: '2.0', id: 1, method: 'tools/list' })
  expect((await mcp.answerTo('init')).result.serverInfo.name).toBe('limb-bridge')
  const names = (answer: Loose) => answer.result.tools.map((tool: Loose) => tool.name)
  expect(names(await mcp.answerTo(1))).toContain('limb_invoke')
  mcp.send(toolCall(2, 'limb_list_available'))
  expect(textOf(await mcp.answerTo(2))).toMatchObject({ code: 'unreachable' })
  mcp.process.kill('SIGKILL')

  // Its role is not known before the bridge is there.
  const url = `mqtt://127.0.0.1:${port}`
  const remote = server(['--url', url, '--user', 'ann'], { LIMB_PASSWORD: password })
  remote.send(INITIALIZE, INITIALIZED, { jsonrpc: '2.0', id: 1, method: 'tools/list' })
  expect(names(await remote.answerTo(1))).toEqual([
    'limb_list_available',
    'limb_describe',
    'limb_invoke',
    'limb_lease',
    'limb_pair_list',
  ])
})

test('a server comes to its bridge when that is up, and says that it offers other tools now', async () => {
  const control = app.bridge.control
  await app.bridge.stop()
  const mcp = server(['--socket', control, '--role', 'viewer'])
  mcp.send(INITIALIZE, INITIALIZED, toolCall(0, 'limb_list_available'))
  expect(textOf(await mcp.answerTo(0))).toMatchObject({ code: 'unreachable' })
  await app.restart()
  const changed = () => mcp.lines.some((line) => line.method === 'notifications/tools/list_changed')
  await expect.poll(changed, { timeout: patience(20_000) }).toBe(true)
  mcp.send(toolCall(1, 'limb_list_available'))
  expect((await mcp.answerTo(1)).result.structuredContent).toEqual({ items: [] })
})

test.each(['viewer', 'agent', 'operator'])(
  'a server learns that it is %s without a refused request',
  async (role) => {
    const admin = await app.admin()
    const { password } = await admin.do('admin', 'principal/add', { name: 'ann', role })
    const url = `mqtt://127.0.0.1:${app.bridge.mqtt.port}`
    const mcp = server(['--url', url, '--user', 'ann'], { LIMB_PASSWORD: password })
    mcp.send(INITIALIZE, INITIALIZED, { jsonrpc: '2.0', id: 1, method: 'tools/list' })
    const { tools } = (await mcp.answerTo(1)).result
    expect(tools).toHaveLength({ viewer: 3, agent: 5, operator: 6 }[role] ?? 0)
    const { items } = await admin.do('admin', 'audit/list', { limit: 100 })
    expect(items.filter(({ actor, outcome }: Loose) => actor === 'ann' || outcome === 'forbidden')).toEqual(
      [],
    )
  },
)
