import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startApp, type TestApp } from '../support/app.ts'
import { patience } from '../support/patience.ts'

/** The conformance suite of the Model Context Protocol, against `/mcp` of a whole bridge. */

const SUITE = resolve(
  import.meta.dirname,
  '../../node_modules/@modelcontextprotocol/conformance/dist/index.js',
)

let app: TestApp & AsyncDisposable
let door: { url: string; close(): void }

beforeAll(async () => {
  app = await startApp({ http: { enabled: true, port: 0 } })
  await app.limb('cam1')
  const admin = await app.admin()
  const { password } = await admin.do('admin', 'principal/add', { name: 'ann', role: 'agent' })
  door = await signingProxy(app.bridge.http?.port ?? 0, 'ann', password)
})
afterAll(async () => {
  door.close()
  await app[Symbol.asyncDispose]()
})

/** Puts things of this bridge in the place of those that the suite asks for by name. */
const NAMES = {
  'test://watched-resource': 'limb://cam1',
  'test://static-text': 'limb://cam1',
  test_simple_text: 'limb_list_available',
  // It lacks its command.
  test_error_handling: 'limb_invoke',
}

/** The suite cannot sign in: this adds the header to what it sends, translates names, and changes nothing else. */
async function signingProxy(port: number, name: string, password: string) {
  const authorization = `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
  const proxy = createServer((asked, answer) => {
    const { method, headers, url: path } = asked
    const { 'content-length': _, ...rest } = headers
    // A connection each: one that was kept may be ended by the bridge in the moment in which it is used again.
    const options = {
      host: '127.0.0.1',
      port,
      path,
      method,
      agent: false,
      headers: { ...rest, authorization },
    }
    const onward = request(options, (response) => {
      answer.writeHead(response.statusCode ?? 500, response.headers)
      answer.flushHeaders()
      response.pipe(answer)
      response.on('error', () => answer.destroy())
    })
    onward.on('error', () => answer.destroy())
    answer.on('close', () => onward.destroy())
    void text(asked).then((body) => {
      let translated = body
      for (const [theirs, ours] of Object.entries(NAMES)) translated = translated.replaceAll(theirs, ours)
      onward.end(translated)
    })
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const { port: own } = proxy.address() as AddressInfo
  return {
    url: `http://localhost:${own}/mcp`,
    close() {
      proxy.close()
      proxy.closeAllConnections()
    },
  }
}

async function run(scenario: string): Promise<{ code: number | null; text: string }> {
  const child = spawn(process.execPath, [SUITE, 'server', '--url', door.url, '--scenario', scenario], {
    cwd: join(import.meta.dirname),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (out += chunk.toString()))
  // Behind its last words; 'exit' may come before them.
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, text: out }
}

/**
 * Lists the scenarios that apply. The others call tools, prompts and resources of the suite's own model server by their
 * names, or what this server does not offer: prompts, completion, logging, sampling and elicitation.
 */
const SCENARIOS = [
  'server-initialize',
  'ping',
  'tools-list',
  'tools-call-simple-text',
  'tools-call-error',
  'resources-list',
  'resources-read-text',
  'resources-subscribe',
  'resources-unsubscribe',
  'server-sse-multiple-streams',
  'dns-rebinding-protection',
]

test.each(SCENARIOS)('%s', { timeout: patience(60_000) }, async (scenario) => {
  const { code, text } = await run(scenario)
  expect(text).toMatch(/Passed: ([1-9]\d*)\/\1, 0 failed, 0 warnings/)
  expect(code, text).toBe(0)
})
