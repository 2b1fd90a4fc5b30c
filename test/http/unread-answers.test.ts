import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { fastify } from 'fastify'
import { expect, onTestFinished, test } from 'vitest'
import type { Identity } from '../../src/bridge/ports.ts'
import { StrangersUnreadBytes, UnreadBytes } from '../../src/http/held-bytes.ts'
import { boundAnswers, decorateIdentity, rememberIdentity } from '../../src/http/unread-answers.ts'

/** The answer of each route. */
const LARGE = Buffer.alloc(1_048_576)

const WHO: Readonly<Record<string, Identity>> = {
  '/limb': { kind: 'limb', nodeId: 'cam1' } as Identity,
  '/candidate': { kind: 'candidate', nodeId: 'cam1' } as Identity,
  '/principal': { kind: 'principal', name: 'dash', role: 'viewer', local: false },
}

test.each([
  ['/limb', 'unread', ['limb']],
  ['/principal', 'unread', ['principal']],
  ['/candidate', 'ofStrangers', []],
] as const)('an answer to %s that is not read is counted with %s', async (path, where, signedIn) => {
  const ended: string[] = []
  const unread = new UnreadBytes((principal) => ended.push(principal))
  const ofStrangers = new StrangersUnreadBytes(() => ended.push('a stranger'))
  const app = fastify({ forceCloseConnections: true })
  onTestFinished(() => app.close())
  const told: string[] = []
  let asked: string | undefined
  decorateIdentity(app, (request) => told.push(String(request.url).slice(1)))
  boundAnswers(app, unread, ofStrangers)
  const counted: { unread: number; ofStrangers: number }[] = []
  app.addHook('onSend', async () => {
    counted.push({ unread: unread.bytes, ofStrangers: ofStrangers.bytes })
  })
  app.get(path, async (request, reply) => {
    asked = path
    rememberIdentity(request, WHO[path] as Identity)
    return reply.send(LARGE)
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1').on('error', () => undefined)
  onTestFinished(() => {
    socket.destroy()
  })
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await once(socket, 'data')
  const other = where === 'unread' ? 'ofStrangers' : 'unread'
  expect(counted).toHaveLength(1)
  // What strangers are sent may be the same bytes for all of them: a request of theirs costs its objects alone.
  expect(counted[0]?.[where]).toBeGreaterThanOrEqual(where === 'unread' ? LARGE.length : 8192)
  expect(counted[0]?.[other]).toBe(0)
  expect([asked, told, ended]).toEqual([path, signedIn, []])
})
