import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { boundHttpConnections } from '../../src/http/http-connections.ts'
import { startApp } from '../support/app.ts'
import { patience } from '../support/patience.ts'

/** Who has to go when there are too many connections of HTTP. */

const MAX = 3

interface Asked {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** A server that answers nothing by itself, with clients that each wait until they were heard. */
async function server() {
  const asked: Asked[] = []
  const http: Server = createServer((request, response) => {
    asked.push({ request, response })
  })
  const ended: string[] = []
  const connections = boundHttpConnections(http, MAX, () => ended.push('ended'))
  http.listen(0)
  await once(http, 'listening')
  onTestFinished(() => {
    http.closeAllConnections()
    http.close()
  })
  const { port } = http.address() as AddressInfo
  const dial = async (localAddress = '127.0.0.1'): Promise<Socket> => {
    const accepted = once(http, 'connection')
    const socket = connect({ port, host: '127.0.0.1', localAddress }).on('error', () => undefined)
    onTestFinished(() => {
      socket.destroy()
    })
    await accepted
    return socket
  }
  const ask = async (localAddress?: string): Promise<Socket> => {
    const socket = await dial(localAddress)
    const heard = once(http, 'request')
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await heard
    return socket
  }
  return { http, asked, connections, ended, dial, ask }
}

async function answered(socket: Socket, response: ServerResponse | undefined): Promise<string> {
  const text = once(socket, 'data')
  response?.end('here')
  return String(await text)
}

test('when all of them are being answered the oldest goes, not the newcomer', async () => {
  const { asked, ended, ask } = await server()
  const sockets = []
  for (let i = 0; i < MAX; i++) sockets.push(await ask())
  const first = sockets[0] as Socket
  const closed = once(first, 'close')
  const newcomer = await ask()
  await closed
  expect(ended.length).toBe(1)
  expect(await answered(newcomer, asked.at(-1)?.response)).toContain('200 OK')
})

test('whoever has most of them gives one up, and who has one keeps it', async () => {
  const { asked, ended, dial, ask } = await server()
  const lonely = await dial('127.0.0.2')
  const oldest = await ask('127.0.0.3')
  const closed = once(oldest, 'close')
  for (let i = 1; i < MAX; i++) await ask('127.0.0.3')
  await closed
  expect(ended.length).toBe(1)
  lonely.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  while (asked.length <= MAX) await new Promise((turn) => setImmediate(turn))
  expect(await answered(lonely, asked.at(-1)?.response)).toContain('200 OK')
})

test('whoever has signed in takes no place while it is answered, and takes one afterwards', async () => {
  const { asked, connections, ended, dial, ask } = await server()
  const waiting = []
  for (let i = 0; i < MAX * 2; i++) {
    waiting.push(await ask())
    connections.hasSignedIn((asked[i] as Asked).request)
  }
  for (let i = 0; i < MAX; i++) await dial()
  expect(ended.length).toBe(0)
  for (const [i, socket] of waiting.entries()) {
    const { response } = asked[i] as Asked
    const over = once(response, 'close')
    expect(await answered(socket, response)).toContain('200 OK')
    await over
  }
  expect(ended.length).toBe(MAX * 2)
})

test('whoever has signed in and does not send its request whole takes a place', async () => {
  const { http, asked, connections, ended, dial } = await server()
  const halves = []
  for (let i = 0; i <= MAX; i++) {
    const socket = await dial()
    const heard = once(http, 'request')
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf')
    await heard
    connections.hasSignedIn((asked[i] as Asked).request)
    halves.push(socket)
  }
  expect(ended.length).toBe(1)
})

const POLLS = 540

test('more limbs wait for work over HTTP than strangers may have connections, and none keeps anybody out', async () => {
  await using app = await startApp(
    { http: { enabled: true, port: 0 }, mqtt: { port: 0, maxConnectionsPerAddress: 10_000 } },
    { memory: true },
  )
  const admin = await app.admin()
  const keyOfLimb = (i: number) => `a key of limb ${i} that is long`
  const nodes = Array.from({ length: POLLS }, (_, i) => ({ nodeId: `limb${i}`, apiKey: keyOfLimb(i) }))
  for (let i = 0; i < POLLS; i += 500)
    await admin.do('admin', 'node/import', { nodes: nodes.slice(i, i + 500) })
  const port = app.bridge.http?.port as number
  const url = `http://127.0.0.1:${port}`
  let closed = 0
  const poll = ({ nodeId, apiKey }: { nodeId: string; apiKey: string }) => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined)
    onTestFinished(() => {
      socket.destroy()
    })
    socket.once('close', () => closed++)
    const credentials = Buffer.from(`${nodeId}:${apiKey}`).toString('base64')
    const ask = () =>
      socket.write(
        `GET /api/limb/invoke?wait=50 HTTP/1.1\r\nHost: x\r\nAuthorization: Basic ${credentials}\r\n\r\n`,
      )
    // On a busy machine a poll may be over before the last one begins: it asks again, as a limb does.
    socket.on('data', ask)
    ask()
  }
  const polling = async () =>
    Number(/^limb_sessions\{role="limb"\} (\d+)$/m.exec(await (await fetch(`${url}/metrics`)).text())?.[1])
  // Until its key was looked at a limb is a stranger: they come some at a time.
  for (let i = 0; i < POLLS; i += 90) {
    nodes.slice(i, i + 90).forEach(poll)
    await expect.poll(polling, { timeout: patience(10_000) }).toBe(Math.min(i + 90, POLLS))
  }
  expect(await answerOf(url)).toBe(200)
  expect(closed).toBe(0)
})

const answerOf = async (url: string) => (await fetch(`${url}/healthz`)).status
