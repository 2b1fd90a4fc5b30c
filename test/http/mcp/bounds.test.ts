import { describe, expect, test } from 'vitest'
import { LimbChanges } from '../../../src/mcp/limb-changes.ts'
import { McpEndpoint } from '../../../src/mcp/streamable/endpoint.ts'
import { EventWindows } from '../../../src/mcp/streamable/event-window.ts'
import { topicsOf } from '../../../src/protocol/topics.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** What clients of MCP make the bridge keep. */

const MIB = 1_048_576
/** A message that has so many bytes as JSON. */
const message = (bytes: number) => ({ jsonrpc: '2.0' as const, method: 'x'.repeat(bytes - 29) })

describe('events that are kept for a client whose connection broke', () => {
  test('have a bound in number and in bytes for each session, and the oldest go', async () => {
    const windows = new EventWindows()
    const many = windows.open()
    const ids = []
    for (let i = 0; i < 600; i++) ids.push(await many.storeEvent('s', message(40)))
    expect(many.bytes).toBe(512 * 40)
    expect(await many.getStreamIdForEventId(ids[0] ?? '')).toBeUndefined()
    expect(await many.getStreamIdForEventId(ids[599] ?? '')).toBe('s')
    const large = windows.open()
    for (let i = 0; i < 10; i++) await large.storeEvent('s', message(MIB / 2))
    expect(large.bytes).toBe(2 * MIB)
    expect(windows.bytes).toBe(512 * 40 + 2 * MIB)
  })

  test('have a bound in bytes for all sessions: those of the session that holds most go first', async () => {
    const windows = new EventWindows()
    const small = windows.open()
    await small.storeEvent('s', message(1000))
    const large = Array.from({ length: 20 }, () => windows.open())
    for (const window of large) for (let i = 0; i < 8; i++) await window.storeEvent('s', message(MIB / 4))
    expect(windows.bytes).toBeLessThanOrEqual(32 * MIB)
    expect(windows.bytes).toBeGreaterThan(31 * MIB)
    expect(small.bytes).toBe(1000)
    for (const window of [small, ...large]) windows.close(window)
    expect(windows.bytes).toBe(0)
  })
})

test('sessions of MCP have a bound in all: beyond it, who has one gives up its own oldest, and others get none', async () => {
  const topics = topicsOf('limb')
  const endpoint = new McpEndpoint({ version: '1', clock: new FakeClock(), topics, listen: () => undefined })
  const begin = async (principal: string) => {
    const headers = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' }
    const request = new Request('http://localhost/mcp', { method: 'POST', headers })
    const body = {
      jsonrpc: '2.0',
      id: 0,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } },
    }
    const caller = {
      key: principal,
      principal,
      role: 'agent' as const,
      isCurrent: () => true,
      whenEnded: () => () => undefined,
      request: async () => ({ items: [] }),
    }
    const { response, ended } = await endpoint.handle(() => ({ request, body }), caller)
    await response.text()
    ended()
    return response.status
  }
  for (let i = 0; i < 200; i++) expect(await begin(`p${Math.floor(i / 16)}`)).toBe(200)
  expect(endpoint.sessions).toBe(200)
  expect(await begin('p12')).toBe(200)
  expect(await begin('newcomer')).toBe(429)
  expect(endpoint.sessions).toBe(200)
  await endpoint.close()
})

test('a client of MCP follows a thousand limbs, and no more', async () => {
  let watched = 0
  const bridge = {
    topics: topicsOf('limb'),
    request: async () => ({}),
    watch: async (filters: readonly string[]) => {
      watched += filters.length
    },
    onConnection: () => undefined,
  }
  const changes = new LimbChanges(bridge, new FakeClock(), { updated() {}, listChanged() {} })
  for (let i = 0; i < 1000; i++) await changes.subscribe(`n${i}`)
  await expect(changes.subscribe('n1000')).rejects.toMatchObject({ code: 'too_many_requests' })
  // One that it knows already costs nothing more.
  await changes.subscribe('n1')
  expect(watched).toBe(2000)
})
