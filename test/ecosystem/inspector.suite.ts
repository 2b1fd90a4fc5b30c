import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { run } from '../support/command.ts'
import { ROBOT, worker } from '../support/worker.ts'

/** MCP Inspector, in its form without a browser, as a client of `limb-bridge mcp`. */

const CLI = join(process.env.LIMB_ECOSYSTEM_FOLDER ?? '', 'node_modules/.bin/mcp-inspector')
const START_MS = 180_000
const MAIN = join(import.meta.dirname, '../../src/main.ts')

async function inspect(app: TestApp, ...args: string[]) {
  const server = [process.execPath, MAIN, 'mcp', '--socket', app.bridge.control]
  const { lines } = await run(CLI, ['--cli', ...server, ...args])
  const text = lines.join('\n')
  return JSON.parse(text.slice(text.indexOf('{')))
}

test('MCP Inspector lists the tools, and runs a command on a limb', async () => {
  await using app = await startApp({}, { memory: true })
  // It stays online however long the programs take to start.
  const robot = await worker(app, 'robot1', { ...ROBOT, heartbeatSeconds: 3600 })
  const { tools } = await inspect(app, '--method', 'tools/list')
  expect(tools.map((tool: { name: string }) => tool.name)).toEqual(
    expect.arrayContaining(['limb_list_available', 'limb_describe', 'limb_invoke', 'limb_lease']),
  )
  const running = inspect(
    app,
    ...['--method', 'tools/call', '--tool-name', 'limb_invoke'],
    ...['--tool-arg', 'nodeId=robot1', '--tool-arg', 'command=camera.snap'],
  )
  // Two programs start before it comes.
  const { json } = await robot.client.next('limb/node/robot1/invoke', START_MS)
  await robot.answer(json)
  expect((await running).structuredContent).toMatchObject({
    nodeId: 'robot1',
    data: { did: 'camera.snap' },
  })
})

test('what MCP Inspector sends for an argument that no tool has is refused with the word that was meant', async () => {
  await using app = await startApp({}, { memory: true })
  await worker(app, 'robot1')
  const answer = await inspect(
    app,
    ...['--method', 'tools/call', '--tool-name', 'limb_list_available', '--tool-arg', 'capabilty=camera'],
  )
  expect(answer.isError).toBe(true)
  expect(answer.content[0].text).toContain('did you mean capability?')
})
