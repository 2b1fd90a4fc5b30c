import { expect, onTestFinished, test } from 'vitest'
import { EVENT_STREAMS, MCP_RESPONSES, OpenPlaces, type PlaceBounds } from '../../src/http/open-places.ts'
import { startApp, type TestApp } from '../support/app.ts'
import { patience } from '../support/patience.ts'

/** Responses that stay open: how many of one principal, and of all. */

const HTTP = { http: { enabled: true, port: 0 } }

/** Tokens of so many agents: a password takes a while each. */
async function tokens(app: TestApp, count: number): Promise<string[]> {
  const admin = await app.admin()
  const made: string[] = []
  for (let i = 0; i < count; i++) {
    const principal = `ann${i}`
    await admin.do('admin', 'principal/add', { name: principal, role: 'agent' })
    made.push((await admin.do('admin', 'token/add', { name: 'x', principal })).token)
  }
  return made
}

/** Opens responses of one principal until it is told that there are too many; they stay open until the test ends. */
async function openUntilRefused(
  most: number,
  open: (signal: AbortSignal) => Promise<Response>,
): Promise<number> {
  const stop = new AbortController()
  // A response that nobody holds is collected, and its connection ends.
  const held: Response[] = []
  onTestFinished(() => {
    stop.abort()
    held.length = 0
  })
  for (let count = 0; count <= most; count++) {
    const response = await open(stop.signal)
    if (response.status === 429) return count
    expect(response.status).toBe(200)
    held.push(response)
  }
  return Number.POSITIVE_INFINITY
}

/** How many each of so many principals gets, one after the other. */
function placesOf(bounds: PlaceBounds, principals: number) {
  const places = new OpenPlaces(bounds)
  const enter = (principal: string) => {
    let count = 0
    for (; count < 1000 && places.full(principal, 'things') === undefined; count++) places.enter(principal)
    return count
  }
  const counts = Array.from({ length: principals }, (_, i) => enter(`p${i}`))
  const said = places.full('p0', 'things')
  places.leave('p0')
  return { counts, said, afterOneLeft: [enter('newcomer'), enter('p0')] }
}

test('sixteen event streams of a principal are open, and a hundred of all; the next one is told so', () => {
  expect(placesOf(EVENT_STREAMS, 8)).toEqual({
    counts: [16, 16, 16, 16, 16, 16, 4, 0],
    said: 'there are 16 things of p0 and 100 in all (at most 16 and 100)',
    afterOneLeft: [1, 0],
  })
})

test('sixty-four responses of a principal are open at /mcp, and three hundred of all; the next one is told so', () => {
  expect(placesOf(MCP_RESPONSES, 6)).toEqual({
    counts: [64, 64, 64, 64, 44, 0],
    said: 'there are 64 things of p0 and 300 in all (at most 64 and 300)',
    afterOneLeft: [1, 0],
  })
})

test(
  'whoever has sixteen event streams open is refused another one over HTTP, and others are not',
  async () => {
    await using app = await startApp(HTTP, { memory: true })
    const url = `http://127.0.0.1:${app.bridge.http?.port}/api/v1/events`
    const [ann = '', bob = ''] = await tokens(app, 2)
    const open = (token: string) => (signal: AbortSignal) =>
      fetch(url, { headers: { authorization: `Bearer ${token}` }, signal })
    expect(await openUntilRefused(20, open(ann))).toBe(16)
    expect(await openUntilRefused(1, open(bob))).toBe(Number.POSITIVE_INFINITY)
  },
  patience(30_000),
)

test(
  'whoever has sixty-four responses open at /mcp is refused another one over HTTP, and others are not',
  async () => {
    await using app = await startApp(HTTP, { memory: true })
    const method = 'subscriptions/listen'
    const version = '2026-07-28'
    const params = {
      notifications: { resourcesListChanged: true },
      _meta: {
        'io.modelcontextprotocol/protocolVersion': version,
        'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
        'io.modelcontextprotocol/clientCapabilities': {},
      },
    }
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
    const url = `http://127.0.0.1:${app.bridge.http?.port}/mcp`
    const counts = []
    for (const [token, most] of (await tokens(app, 2)).map((each, i) => [each, [70, 1][i] ?? 1] as const)) {
      const headers = {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': version,
        'mcp-method': method,
      }
      const open = (signal: AbortSignal) => fetch(url, { method: 'POST', headers, body, signal })
      counts.push(await openUntilRefused(most, open))
    }
    expect(counts).toEqual([64, Number.POSITIVE_INFINITY])
  },
  patience(30_000),
)
