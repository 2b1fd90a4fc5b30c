import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { McpEndpoint } from '../../../src/mcp/streamable/endpoint.ts'
import { topicsOf } from '../../../src/protocol/topics.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const REQUESTS = 12

test('requests that come at one moment are read and answered a few in each turn of the event loop', async () => {
  const clock = new FakeClock()
  const topics = topicsOf('limb')
  const endpoint = new McpEndpoint({ version: '1', clock, topics, listen: () => undefined })
  const caller = {
    key: 'p',
    principal: 'p',
    role: 'agent' as const,
    isCurrent: () => true,
    whenEnded: () => () => undefined,
    request: async () => ({ items: [] }),
  }
  let read = 0
  const ask = async () => {
    const { response } = await endpoint.handle(() => {
      clock.standStill(4)
      read++
      return { request: new Request('http://localhost/mcp', { method: 'GET' }), body: undefined }
    }, caller)
    return response.status
  }
  // The first ones wait for the library, and go on together.
  const answers = Promise.all(Array.from({ length: REQUESTS }, ask))
  let most = 0
  for (let before = read; read < REQUESTS; before = read) {
    await turn()
    most = Math.max(most, read - before)
  }
  expect(await answers).toEqual(Array.from({ length: REQUESTS }, () => 400))
  expect(most).toBe(2)
  await endpoint.close()
})
