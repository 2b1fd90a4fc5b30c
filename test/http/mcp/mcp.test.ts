import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startApp, type TestApp } from '../../support/app.ts'
import type { Loose, TestClient } from '../../support/client.ts'
import { patience } from '../../support/patience.ts'

/** MCP over HTTP against a whole bridge, spoken to by the SDK's own client and by bare requests. */

const ROBOT = {
  displayName: 'Robot',
  platform: 'esp32',
  capabilities: [
    { cap: 'camera', commands: ['camera.snap'], authLevel: 'free' },
    { cap: 'saw', commands: ['saw.cut'], authLevel: 'gated' },
  ],
}

let app: TestApp & AsyncDisposable
let robot: TestClient
let password: string
const clients: Client[] = []

beforeEach(async () => {
  app = await startApp({ http: { enabled: true, port: 0 } }, { memory: true })
  robot = await app.limb('robot1', ROBOT)
  await robot.subscribe('limb/node/robot1/invoke')
  await robot.publish('limb/node/robot1/heartbeat')
  await robot.settle()
  password = await addPrincipal('ann', 'agent')
})
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()))
  await app[Symbol.asyncDispose]()
})

async function addPrincipal(name: string, role: string): Promise<string> {
  const admin = await app.admin()
  const { password: made } = await admin.do('admin', 'principal/add', { name, role })
  await admin.end()
  return made
}

const url = () => `http://127.0.0.1:${app.bridge.http?.port}/mcp`
const basic = (name: string, secret: string) => `Basic ${Buffer.from(`${name}:${secret}`).toString('base64')}`
const signedIn = () => ({ authorization: basic('ann', password) })

async function connected(options: Loose = {}, headers: Record<string, string> = signedIn()) {
  const client = new Client({ name: 'test', version: '1' }, options)
  clients.push(client)
  const transport = new StreamableHTTPClientTransport(new URL(url()), { requestInit: { headers } })
  await client.connect(transport)
  return { client, transport }
}

async function textOf(answer: Promise<Loose>): Promise<Loose> {
  const { content } = await answer
  return JSON.parse(content[0].text)
}

async function answers(more: object): Promise<Loose> {
  const { json } = await robot.next('limb/node/robot1/invoke')
  await robot.publish('limb/node/robot1/result', { invocationId: json.invocationId, success: true, ...more })
  return json
}

const until = (look: () => unknown) => expect.poll(look, { timeout: patience(20_000), interval: 20 })

const INITIALIZE = {
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bare', version: '1' } },
}

/** A request as a program without a library sends it. */
function post(body: unknown, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> {
  return fetch(url(), {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...signedIn(),
      ...headers,
    },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(signal && { signal }),
  })
}

async function session(): Promise<Record<string, string>> {
  const response = await post(INITIALIZE)
  await response.text()
  const id = response.headers.get('mcp-session-id') ?? ''
  const headers = { 'mcp-session-id': id, 'mcp-protocol-version': '2025-11-25' }
  await post({ jsonrpc: '2.0', method: 'notifications/initialized' }, headers)
  return headers
}

const toolCall = (id: number, name: string, args: object, more: object = {}) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: args, ...more },
})

describe.each([
  ['2025-11-25', {}],
  ['2026-07-28', { versionNegotiation: { mode: 'auto' } }],
])('an agent that speaks %s', (version, options) => {
  it('lists limbs, runs a command and reads its result, as over standard input', async () => {
    const { client } = await connected(options)
    expect(client.getNegotiatedProtocolVersion()).toBe(version)
    const { tools } = await client.listTools()
    expect(tools.map(({ name }) => name)).toEqual([
      'limb_list_available',
      'limb_describe',
      'limb_invoke',
      'limb_lease',
      'limb_pair_list',
    ])
    const [result, told] = await Promise.all([
      textOf(
        client.callTool({
          name: 'limb_invoke',
          arguments: { nodeId: 'robot1', command: 'camera.snap', params: { zoom: 2 } },
        }),
      ),
      answers({ data: { width: 640 } }),
    ])
    expect(told).toMatchObject({ command: 'camera.snap', params: { zoom: 2 }, principal: 'ann' })
    expect(result).toMatchObject({ nodeId: 'robot1', data: { width: 640 } })
  })

  it('is told which tool it meant, or which role one needs', async () => {
    const { client } = await connected(options)
    const cases = [
      ['limb_invok', 'did you mean limb_invoke?'],
      ['limb-describe', 'did you mean limb_describe?'],
      ['limb_list', 'did you mean limb_list_available?'],
      ['invoke', 'did you mean limb_invoke?'],
      ['browser_click', 'tools/list has them all'],
      ['limb_pair_approve', 'needs the role operator'],
      [`${'x'.repeat(65)}`, `there is no tool ${'x'.repeat(64)}…`],
      ['a\u202eb', 'there is no tool a\\u{202e}b'],
    ] as const
    for (const [name, told] of cases)
      await expect(client.callTool({ name, arguments: {} }), name).rejects.toThrow(told)
    const { items } = await (await app.admin()).do('admin', 'audit/list', { kind: 'request.refused' })
    expect(items).toMatchObject([
      { actor: 'ann', outcome: 'forbidden', detail: { verb: 'pairing/approve', needs: 'operator' } },
    ])
  })

  it('is told of the limbs that it follows, and of the list', async () => {
    const { client } = await connected(options)
    const told: Loose[] = []
    client.setNotificationHandler('notifications/resources/updated', (each) => void told.push(each.params))
    client.setNotificationHandler(
      'notifications/resources/list_changed',
      () => void told.push({ list: true }),
    )
    if (version === '2025-11-25') await client.subscribeResource({ uri: 'limb://robot1' })
    else await client.listen({ resourceSubscriptions: ['limb://robot1'], resourcesListChanged: true })
    await robot.publish('limb/node/robot1/heartbeat', { status: 'busy' })
    await until(() => told.some(({ uri }) => uri === 'limb://robot1')).toBe(true)
    const admin = await app.admin()
    await admin.do('admin', 'node/provision', { nodeId: 'other' })
    await until(() => told.some(({ list }) => list)).toBe(true)
    const { contents } = await client.readResource({ uri: 'limb://robot1' })
    expect(JSON.parse((contents[0] as Loose).text)).toMatchObject({ status: 'busy' })
  })

  it('hears that an invocation waits for a person, and gets the result after the approval', async () => {
    const { client } = await connected(options)
    const progress: Loose[] = []
    const cut = textOf(
      client.callTool(
        { name: 'limb_invoke', arguments: { nodeId: 'robot1', command: 'saw.cut' } },
        { onprogress: (each) => progress.push(each), timeout: patience(60_000) },
      ),
    )
    const admin = await app.admin()
    await until(() => progress.some(({ message }) => message.includes('approve'))).toBe(true)
    const { items } = await admin.do('admin', 'invocation/list', { state: 'waiting' })
    await Promise.all([
      admin.do('admin', 'invocation/approve', { invocationId: items[0].invocationId }),
      answers({}),
    ])
    expect(await cut).toMatchObject({ nodeId: 'robot1' })
  })

  it('takes back what waits for a person when it cancels the call', async () => {
    const { client } = await connected(options)
    const cancelled = new AbortController()
    const cut = client.callTool(
      { name: 'limb_invoke', arguments: { nodeId: 'robot1', command: 'saw.cut' } },
      { signal: cancelled.signal },
    )
    cut.catch(() => undefined)
    const admin = await app.admin()
    const states = async () =>
      (await admin.do('admin', 'invocation/list')).items.map(({ state }: Loose) => state)
    await expect.poll(states, { timeout: patience(20_000) }).toEqual(['waiting'])
    cancelled.abort()
    await expect.poll(states, { timeout: patience(20_000) }).toEqual(['cancelled'])
  })
})

describe('who may come in', () => {
  it('is a principal with its password or a token, and everybody else learns where to read how', async () => {
    const admin = await app.admin()
    const { token } = await admin.do('admin', 'token/add', { principal: 'ann', name: 'agent' })
    const { client } = await connected({}, { authorization: `Bearer ${token}` })
    expect((await client.listTools()).tools).toHaveLength(5)

    for (const authorization of ['', basic('ann', 'wrong'), 'Bearer lbt_wrong', basic('robot1', 'x')]) {
      const refused = await post(INITIALIZE, { authorization })
      expect(refused.status).toBe(401)
      const [, metadata = ''] =
        /resource_metadata="([^"]+)"/.exec(refused.headers.get('www-authenticate') ?? '') ?? []
      expect(metadata).toBe(url().replace('/mcp', '/.well-known/oauth-protected-resource/mcp'))
      const document = (await (await fetch(metadata)).json()) as Loose
      expect(document).toMatchObject({ resource: url(), bearer_methods_supported: ['header'] })
    }
  })

  it('is no page of another origin, and nobody who asks for another host', async () => {
    const page = await post(INITIALIZE, { origin: 'https://evil.example' })
    expect(page.status).toBe(403)
    const own = await post(INITIALIZE, { origin: url().replace('/mcp', '') })
    expect(own.status).toBe(200)
    const { request } = await import('node:http')
    const statusFor = (host: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        const asked = request(url(), { method: 'POST', headers: { host, ...signedIn() } }, (response) => {
          response.resume()
          resolve(response.statusCode)
        })
        asked.on('error', reject)
        asked.end('{}')
      })
    for (const host of ['evil.example', 'evil.example:8083', '127.0.0.1.evil.example', '[evil]'])
      expect(await statusFor(host), host).toBe(403)
    for (const host of ['localhost', 'localhost:9', '127.0.0.1', '[::1]:8083'])
      expect(await statusFor(host), host).not.toBe(403)
  })

  it('a viewer gets no tool that runs anything', async () => {
    const secret = await addPrincipal('eve', 'viewer')
    const { client } = await connected({}, { authorization: basic('eve', secret) })
    const { tools } = await client.listTools()
    expect(tools.map(({ name }) => name)).toEqual(['limb_list_available', 'limb_describe', 'limb_pair_list'])
  })

  it('a session ends with the token that opened it, its stream too', async () => {
    const admin = await app.admin()
    const { token, tokenId } = await admin.do('admin', 'token/add', { principal: 'ann', name: 'agent' })
    const bearer = { authorization: `Bearer ${token}` }
    const begun = await post(INITIALIZE, bearer)
    await begun.text()
    const id = begun.headers.get('mcp-session-id') ?? ''
    const stream = await fetch(url(), {
      headers: { accept: 'text/event-stream', 'mcp-session-id': id, ...bearer },
    })
    expect(stream.status).toBe(200)
    await admin.do('admin', 'token/remove', { tokenId })
    const late = await post({ jsonrpc: '2.0', id: 1, method: 'ping' }, { ...bearer, 'mcp-session-id': id })
    expect(late.status).toBe(401)
    // Another one of the same principal has no part in it.
    const other = await post({ jsonrpc: '2.0', id: 1, method: 'ping' }, { 'mcp-session-id': id })
    expect(other.status).toBe(404)
    await stream.text().catch(() => '')
  })
})

describe('a session', () => {
  it('ends at once, with its stream, when its principal has another password', async () => {
    const headers = await session()
    const stream = await fetch(url(), {
      headers: { accept: 'text/event-stream', ...headers, ...signedIn() },
    })
    expect(stream.status).toBe(200)
    const ended = stream.text().catch(() => '')
    const admin = await app.admin()
    const { password: next } = await admin.do('admin', 'principal/set-password', { name: 'ann' })
    const began = performance.now()
    await ended
    // What looks at streams comes round every fifteen seconds.
    expect(performance.now() - began).toBeLessThan(10_000)
    const metrics = await (await fetch(url().replace('/mcp', '/metrics'))).text()
    expect(metrics).toContain('limb_mcp_sessions 0')
    password = next
  })

  it('is known to its principal alone, and ends when it says so', async () => {
    const headers = await session()
    const secret = await addPrincipal('bob', 'admin')
    const ping = { jsonrpc: '2.0', id: 5, method: 'ping' }
    expect((await post(ping, headers)).status).toBe(200)
    expect((await post(ping, { ...headers, authorization: basic('bob', secret) })).status).toBe(404)
    expect((await post(ping)).status).toBe(400)
    expect((await post(ping, { 'mcp-session-id': 'nobody' })).status).toBe(404)
    const ended = await fetch(url(), { method: 'DELETE', headers: { ...signedIn(), ...headers } })
    expect(ended.status).toBe(200)
    expect((await post(ping, headers)).status).toBe(404)
  })

  it('goes on after its connection broke: the answer comes to who asks for what it missed', async () => {
    const headers = await session()
    const leave = new AbortController()
    const response = await post(
      toolCall(7, 'limb_invoke', { nodeId: 'robot1', command: 'camera.snap' }),
      headers,
      leave.signal,
    )
    const reader = response.body?.getReader()
    const first = Buffer.from((await reader?.read())?.value ?? []).toString()
    const [, lastId = ''] = /^id: (.+)$/m.exec(first) ?? []
    leave.abort()
    await answers({ data: { late: true } })
    const resumed = await fetch(url(), {
      headers: { ...signedIn(), ...headers, accept: 'text/event-stream', 'last-event-id': lastId },
    })
    expect(resumed.status).toBe(200)
    const text = await resumed.text()
    expect(text).toContain('"id":7')
    expect(text).toContain('late')
    const forged = await fetch(url(), {
      headers: { ...signedIn(), ...headers, accept: 'text/event-stream', 'last-event-id': '99.nothing' },
    })
    expect(forged.status).toBe(400)
  })

  it('takes back what waits for a person when it ends', async () => {
    const headers = await session()
    const call = post(toolCall(3, 'limb_invoke', { nodeId: 'robot1', command: 'saw.cut' }), headers)
    const admin = await app.admin()
    const states = async () =>
      (await admin.do('admin', 'invocation/list')).items.map(({ state }: Loose) => state)
    await expect.poll(states, { timeout: patience(20_000) }).toEqual(['waiting'])
    await fetch(url(), { method: 'DELETE', headers: { ...signedIn(), ...headers } })
    await expect.poll(states, { timeout: patience(20_000) }).toEqual(['cancelled'])
    await (await call).text().catch(() => undefined)
  })

  it('of a principal that has 16 ends the one that was used longest ago for another', async () => {
    const ping = { jsonrpc: '2.0', id: 5, method: 'ping' }
    const sessions: Record<string, string>[] = []
    for (let n = 0; n < 17; n++) sessions.push(await session())
    expect((await post(ping, sessions[0])).status).toBe(404)
    expect((await post(ping, sessions[1])).status).toBe(200)
    expect((await post(ping, sessions[16])).status).toBe(200)
    const metrics = await (await fetch(url().replace('/mcp', '/metrics'))).text()
    expect(metrics).toContain('limb_mcp_sessions 16')
  })
})

describe('what is no message', () => {
  it('is answered in the form of JSON-RPC, and runs nothing', async () => {
    const headers = await session()
    for (const [body, code] of [
      ['{', -32_700],
      ['', -32_700],
      ['"x"', -32_600],
      ['{"jsonrpc": "1.0"}', -32_600],
    ] as const) {
      const response = await post(body, headers)
      expect([body, response.status]).toEqual([body, 400])
      expect(((await response.json()) as Loose).error.code).toBe(code)
    }
    const form = await post('a=b', { ...headers, 'content-type': 'application/x-www-form-urlencoded' })
    expect(form.status).toBe(415)
    const large = await post('x'.repeat(2_000_000), headers)
    expect(large.status).toBe(413)
    const put = await fetch(url(), { method: 'PUT', headers: signedIn() })
    expect([404, 405]).toContain(put.status)
    const many = Array.from({ length: 1001 }, (_, n) => `limb://n${n}`)
    const listen = {
      jsonrpc: '2.0',
      id: 1,
      method: 'subscriptions/listen',
      params: {
        notifications: { resourceSubscriptions: many },
        _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' },
      },
    }
    const refused = await post(listen, { 'mcp-protocol-version': '2026-07-28' })
    expect(refused.status).toBe(400)
  })
})

it('is not there when it is switched off', async () => {
  await using other = await startApp({ http: { enabled: true, port: 0, mcp: false } }, { memory: true })
  const response = await fetch(`http://127.0.0.1:${other.bridge.http?.port}/mcp`, { method: 'POST' })
  expect(response.status).toBe(404)
})
