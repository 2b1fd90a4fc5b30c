import { EventEmitter, once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { takeTurns } from '../../src/http/request-turns.ts'
import type { Clock, MonotonicMs } from '../../src/kernel/clock.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { listening } from './listening.ts'

/** A clock by which no turn has any time left: every packet waits for another one. */
class LateClock extends FakeClock {
  override monotonicMs(): MonotonicMs {
    this.standStill(1000)
    return super.monotonicMs()
  }
}

/** A server on loopback that keeps what it was asked, in the order in which it was handed over, and answers nothing by itself. */
async function server(clock: Clock = new FakeClock()) {
  const asked: { readonly path: string | undefined; readonly response: ServerResponse }[] = []
  const http = createServer((request, response) => {
    asked.push({ path: request.url, response })
    http.emit('asked')
  })
  let ended = 0
  takeTurns(http, clock, () => {
    ended++
    http.emit('ended')
  })
  const dial = await listening(http)
  return { http, asked, dial, ended: () => ended }
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`

test('requests of one connection that come in one packet are handled one after the other', async () => {
  const { http, asked, dial } = await server()
  const socket = dial()
  socket.write(get('/1') + get('/2') + get('/3'))
  for (const path of ['/1', '/2', '/3']) {
    while (asked.at(-1)?.path !== path) await once(http, 'asked')
    await turn()
    // The next one does not begin before this one was answered.
    expect(asked.at(-1)?.path).toBe(path)
    const answered = once(socket, 'data')
    asked.at(-1)?.response.end(`answer ${path}`)
    expect(String(await answered)).toContain(`answer ${path}`)
  }
})

test('a body that comes line by line is no packet of many requests', async () => {
  const { http, asked, dial, ended } = await server()
  const lines = Array.from({ length: 60 }, (_, i) => `  "line ${i}": "GET / HTTP/1.1",\r\n`)
  const chunks = lines.map((line) => `${line.length.toString(16)}\r\n${line}\r\n`).join('')
  dial().write(`POST /lines HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`)
  while (asked.length === 0) await once(http, 'asked')
  expect([asked[0]?.path, ended()]).toEqual(['/lines', 0])
})

test('a packet with a hundred requests in it is not looked into, its connection is ended, and others go on', async () => {
  const { http, asked, dial, ended } = await server()
  const greedy = dial()
  const closed = once(greedy, 'close')
  greedy.write(get('/greedy').repeat(100))
  await closed
  expect([ended(), asked.length]).toEqual([1, 0])
  const other = dial()
  other.write(get('/other'))
  while (asked.length === 0) await once(http, 'asked')
  const answered = once(other, 'data')
  asked[0]?.response.end('here')
  expect(String(await answered)).toContain('200 OK')
  expect(ended()).toBe(1)
})

test('a connection whose requests come one by one, and never wait for an answer, is ended too', () => {
  const http = new EventEmitter()
  const begun: number[] = []
  let ended = 0
  http.on('request', ({ nr }: { nr: number }) => begun.push(nr))
  takeTurns(http as Server, new FakeClock(), () => ended++)
  const socket = {
    destroyed: false,
    destroy() {
      this.destroyed = true
    },
  }
  // One is being answered, and sixteen wait.
  for (let nr = 0; nr < 17; nr++) http.emit('request', { nr, socket }, new EventEmitter())
  expect([socket.destroyed, ended]).toEqual([false, 0])
  for (let nr = 17; nr < 30; nr++) http.emit('request', { nr, socket }, new EventEmitter())
  expect([socket.destroyed, ended]).toEqual([true, 1])
  expect(begun).toEqual([0])
})

test('of many connections that ask at the same time a few begin in each turn of the event loop', async () => {
  const http = new EventEmitter()
  const begun: number[] = []
  http.on('request', ({ nr }: { nr: number }) => begun.push(nr))
  takeTurns(http as Server, new FakeClock(), () => undefined)
  for (let nr = 0; nr < 20; nr++)
    http.emit('request', { nr, socket: { destroyed: false } }, new EventEmitter())
  // The immediates of the turn in which they came have none left; the next ones have eight each.
  const inEachTurn = [begun.length]
  while (begun.length < 20) {
    const before = begun.length
    await turn()
    inEachTurn.push(begun.length - before)
  }
  expect(inEachTurn).toEqual([8, 0, 8, 4])
  expect(begun).toEqual(Array.from({ length: 20 }, (_, nr) => nr))
})

test('a request whose client has gone while it waited is not handled', async () => {
  const http = new EventEmitter()
  const begun: number[] = []
  http.on('request', ({ nr }: { nr: number }) => begun.push(nr))
  takeTurns(http as Server, new FakeClock(), () => undefined)
  const sockets = Array.from({ length: 10 }, () => ({ destroyed: false }))
  for (const [nr, socket] of sockets.entries()) http.emit('request', { nr, socket }, new EventEmitter())
  for (const socket of sockets) socket.destroyed = true
  await turn()
  expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
})

test('a client that asks on and reads no answer is held by Node as ever, however late its packets come to their turn', async () => {
  const { http, asked, dial } = await server(new LateClock())
  const greedy = dial().pause()
  greedy.write(get('/greedy/0'))
  while (asked.length === 0) await once(http, 'asked')
  // More than the sockets take: Node reads nothing further of a client that does not read this.
  asked[0]?.response.end(Buffer.alloc(32 * 1024 * 1024))
  // More than one read takes, so that several packets of it come in one turn.
  const long = `GET /greedy/1 HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(12_000)}\r\n\r\n`
  greedy.write(long.repeat(40))
  const other = dial()
  for (let i = 0; i < 8; i++) {
    const path = `/other/${i}`
    const answered = once(other, 'data')
    other.write(get(path))
    while (!asked.some((each) => each.path === path)) await once(http, 'asked')
    asked.find((each) => each.path === path)?.response.end('here')
    expect(String(await answered)).toContain('here')
  }
  expect(asked.filter((each) => each.path?.startsWith('/greedy'))).toHaveLength(1)
})

test('connections that end at the same moment are given up a few in each turn of the event loop', async () => {
  const clock = new FakeClock()
  const { http, asked, dial } = await server(clock)
  const sockets = Array.from({ length: 8 }, () => dial())
  for (const socket of sockets) socket.write(get('/'))
  while (asked.length < sockets.length) await once(http, 'asked')
  let given = 0
  for (const { response } of asked) {
    response.req.once('close', () => {
      clock.standStill(4)
      given++
    })
  }
  const before = await new Promise<number>((resolve) => {
    http.once('given up', () => setImmediate(() => resolve(given)))
    for (const { response } of asked) response.socket?.once('close', () => http.emit('given up'))
    // All of them end in one turn.
    for (const { response } of asked) response.socket?.destroy()
  })
  expect(before).toBeLessThanOrEqual(3)
  while (given < sockets.length) await turn()
})

test('a connection that was taken over ends as its new owner wants', async () => {
  const { http, dial } = await server()
  const taken = once(http, 'upgrade')
  dial().write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n')
  const [{ socket }] = (await taken) as [{ socket: EventEmitter }]
  expect(socket.listeners('close').map(({ name }) => name)).toEqual([])
})
