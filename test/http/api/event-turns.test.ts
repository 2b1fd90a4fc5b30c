import type { AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify from 'fastify'
import { expect, onTestFinished, test } from 'vitest'
import { eventRoutes } from '../../../src/http/api/events.ts'
import type { ApiPorts } from '../../../src/http/api/ports.ts'
import { UnreadBytes } from '../../../src/http/held-bytes.ts'
import { decorateIdentity } from '../../../src/http/unread-answers.ts'
import { topicsOf } from '../../../src/protocol/topics.ts'
import { countedClock } from '../../support/counted-clock.ts'

const STREAMS = 8
const LIMBS = 120

test('what is retained leaves for all event streams together in five milliseconds of a turn', async () => {
  const topics = topicsOf('limb')
  let shown = 0
  const view = {
    *match() {
      for (let i = 0; i < LIMBS; i++) {
        shown++
        yield { topic: topics.node(`n${i}`, 'status'), payload: Buffer.from('{}') }
      }
    },
  }
  const feed = { listen: () => undefined, async *retained() {} }
  const ports = {
    topics,
    view,
    feed,
    isCurrent: () => true,
    whenEnded: () => () => undefined,
  } as unknown as ApiPorts
  const app = Fastify()
  onTestFinished(() => app.close())
  decorateIdentity(app, () => undefined)
  app.addHook('onRequest', async (request) => {
    request.setDecorator('identity', { kind: 'principal', name: 'ann', role: 'viewer', local: false })
  })
  eventRoutes(app, ports, countedClock(), new UnreadBytes(() => undefined))
  await app.listen({ host: '127.0.0.1', port: 0 })
  const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/api/v1/events`
  const stop = new AbortController()
  onTestFinished(() => stop.abort())
  const opened = Promise.all(Array.from({ length: STREAMS }, () => fetch(url, { signal: stop.signal })))
  let most = 0
  for (let before = shown; shown < STREAMS * LIMBS; before = shown) {
    await turn()
    most = Math.max(most, shown - before)
  }
  await opened
  // A look at the clock is a millisecond: five in the immediates of a turn, and as many before them.
  expect(most).toBeLessThanOrEqual(20)
})
