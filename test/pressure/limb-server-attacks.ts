import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { publishPacket, subscribePacket } from '../support/mqtt-wire.ts'
import { AGENT, type Attack, id, LIMB, session, type Target, until } from './attacker.ts'

/** Attacks by the server of a limb that is invoked over HTTP, while an agent invokes it as fast as it may. */

/** Answers one request, whose head and body have come. */
type Answer = (socket: Socket) => void

/** The agent has so many invocations under way over each of its sessions, and the limb works on fewer at once. */
const UNDER_WAY = 16
const SESSIONS = 4

const head = (more: string) => `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n${more}\r\n`
const whole = (body: string) => head(`Content-Length: ${Buffer.byteLength(body)}\r\n`) + body

/** Writes the same without end, as fast as it is read. */
function endless(socket: Socket, bytes: Buffer): void {
  const go = () => {
    while (!socket.destroyed && socket.write(bytes));
  }
  socket.on('drain', go)
  go()
}

/** Writes a byte of a text each millisecond or so. */
function drip(socket: Socket, text: string): void {
  let at = 0
  const timer = setInterval(() => {
    if (socket.destroyed || at >= text.length) clearInterval(timer)
    else socket.write(text[at++] as string)
  }, 1)
}

/** A server on loopback that answers each request so. */
async function limbServer(
  answer: Answer,
): Promise<{ readonly port: number; readonly answered: () => number }> {
  let answered = 0
  const server = createServer((socket) => {
    socket.on('error', () => undefined).setNoDelay(true)
    socket.once('data', () => {
      answered++
      answer(socket)
    })
    socket.resume()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, answered: () => answered }
}

/** The bad limb comes as one that is invoked over HTTP, and stays alive. */
async function limbAt(port: number, { mqtt, limbKey }: Target): Promise<() => void> {
  const limb = await session(mqtt, id(), LIMB, limbKey)
  limb.resume()
  const registration = {
    displayName: 'x',
    platform: 'x',
    capabilities: [{ cap: 'x', commands: ['x.y'], authLevel: 'free' }],
    invoke: 'http',
    endpointUrl: `http://127.0.0.1:${port}/invoke`,
  }
  limb.write(publishPacket(`limb/node/${LIMB}/register`, JSON.stringify(registration), 1))
  const beat = () => limb.write(publishPacket(`limb/node/${LIMB}/heartbeat`, '{"status":"online"}', 0))
  await sleep(300)
  beat()
  const timer = setInterval(beat, 2000)
  return () => {
    clearInterval(timer)
    limb.destroy()
  }
}

/** Asks for the next invocation as soon as one was answered. */
async function invoking({ mqtt, agent }: Target): Promise<Socket> {
  const socket = await session(mqtt, id(), AGENT, agent)
  socket.write(subscribePacket(`limb/principal/${AGENT}/response/#`, 1, 1))
  let packet = 1
  const request = JSON.stringify({ nodeId: LIMB, command: 'x.y', timeoutSeconds: 4 })
  const ask = () =>
    socket.write(publishPacket(`limb/principal/${AGENT}/request/invoke`, request, (packet++ % 65_000) + 1))
  for (let i = 0; i < UNDER_WAY; i++) ask()
  const timer = setInterval(() => {
    if (socket.destroyed) clearInterval(timer)
    else if (!socket.writableNeedDrain) ask()
  }, 5)
  return socket.resume()
}

function answers(answer: Answer): Attack {
  return async (target) => {
    const end = until(target.seconds)
    const { port, answered } = await limbServer(answer)
    const stop = await limbAt(port, target)
    const agents = await Promise.all(Array.from({ length: SESSIONS }, () => invoking(target)))
    while (performance.now() < end) {
      for (const [i, socket] of agents.entries()) if (socket.destroyed) agents[i] = await invoking(target)
      await sleep(50)
    }
    for (const socket of agents) socket.destroy()
    stop()
    return answered()
  }
}

const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
const CHUNKED = head('Transfer-Encoding: chunked\r\n')
const DENSE = `{"success":true,"data":[${'[[]],'.repeat(200_000)}1]}`
const MANY_KEYS = `{"success":true,"data":{${Array.from({ length: 22_000 }, (_, i) => `"${i.toString(36)}x":1`).join(',')}}}`
const NUMBERS = `{"success":true,"data":[${'1.2,'.repeat(245_000)}1]}`

export const LIMB_SERVER_ATTACKS: Readonly<Record<string, Attack>> = {
  'answers in chunks of one byte': answers((socket) => {
    socket.write(CHUNKED)
    endless(socket, Buffer.from(chunk(' ').repeat(10_000)))
  }),
  'answers that never end': answers((socket) => {
    socket.write(CHUNKED)
    endless(socket, Buffer.from(chunk(' '.repeat(60_000))))
  }),
  'answers that come a byte at a time': answers((socket) =>
    drip(socket, whole('{"success":true}'.padEnd(100_000))),
  ),
  'answers of a megabyte of numbers': answers((socket) => socket.end(whole(NUMBERS))),
  'answers of small lists without number': answers((socket) => socket.end(whole(DENSE))),
  'answers of very many keys': answers((socket) => socket.end(whole(MANY_KEYS))),
  redirects: answers((socket) =>
    socket.end(
      `HTTP/1.1 307 x\r\nLocation: http://127.0.0.1/${'x'.repeat(3000)}\r\nContent-Length: 0\r\n\r\n`,
    ),
  ),
  'interim answers without end': answers((socket) =>
    endless(socket, Buffer.from('HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n'.repeat(500))),
  ),
  'heads without end': answers((socket) => {
    socket.write('HTTP/1.1 200 OK\r\n')
    endless(socket, Buffer.from(`X-Pad: ${'x'.repeat(500)}\r\n`.repeat(100)))
  }),
  'errors of a mebibyte': answers((socket) =>
    socket.end(
      `HTTP/1.1 500 x\r\nContent-Length: 1000000\r\n\r\n${`{"message":"${'m'.repeat(900_000)}"}`.padEnd(1_000_000)}`,
    ),
  ),
  'no answers at all': answers(() => undefined),
}
