import { EventEmitter } from 'node:events'
import type { ClientRequest } from 'node:http'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { createHttpLimbClient } from '../../src/http/limb-client/client.ts'
import { readInTurns } from '../../src/http/outbound/answer-reading.ts'
import { Gathered } from '../../src/http/outbound/gathered.ts'
import { Gathering } from '../../src/http/outbound/gathering.ts'
import { PacketTurns } from '../../src/http/packet-turns.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { Refusal } from '../../src/kernel/errors.ts'
import { FakeClock } from '../support/fake-clock.ts'

/** What the server of a limb sends that costs more than its bytes. */

/** Serves a limb whose server answers with these bytes, again and again if asked, whatever it is sent. */
async function limbThat(answers: (socket: Socket) => void) {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => answers(socket))
  })
  onTestFinished(() => void server.close())
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  const client = createHttpLimbClient({ clock: systemClock, networks: () => ['127.0.0.1'] })
  const endpointUrl = `http://127.0.0.1:${port}`
  const invocation = { nodeId: 'r1', endpointUrl, address: '127.0.0.1', secret: 's', body: Buffer.from('{}') }
  const outcome = await new Promise<Uint8Array | Refusal>((done) => client.post(invocation, done))
  // An exchange that has ended holds nothing.
  expect(client.heldBytes).toBe(0)
  return outcome
}

const CHUNKED = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n'
const without = (bytes: number) => `1\r\n \r\n`.repeat(bytes)

/** Writes until the other side has enough. */
function endless(socket: Socket, text: string): void {
  const piece = Buffer.from(text)
  const more = () => {
    while (!socket.destroyed && socket.write(piece));
  }
  socket.on('drain', more)
  more()
}

test('an answer in chunks of a byte is read whole', async () => {
  const outcome = await limbThat((socket) => {
    socket.write(CHUNKED)
    socket.write(`${without(200_000)}10\r\n{"success":true}\r\n0\r\n\r\n`)
  })
  expect(outcome).not.toBeInstanceOf(Refusal)
  expect(
    Buffer.from(outcome as Uint8Array)
      .toString()
      .trim(),
  ).toBe('{"success":true}')
  expect((outcome as Uint8Array).length).toBe(200_016)
})

test('an answer whose small chunks are more than twice the largest answer ends', async () => {
  const outcome = await limbThat((socket) => {
    socket.write(CHUNKED)
    endless(socket, without(10_000))
  })
  expect(outcome).toMatchObject({
    code: 'node_error',
    message: expect.stringContaining('sent more than an answer has'),
  })
})

test('interim answers without end are no answer', async () => {
  const outcome = await limbThat((socket) => endless(socket, 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(1000)))
  expect(outcome).toMatchObject({ code: 'node_error', message: expect.stringContaining('did not answer at') })
})

test('a few interim answers before the answer are read over', async () => {
  const outcome = await limbThat((socket) =>
    socket.end(
      `${'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n'.repeat(8)}HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{"success":true}`,
    ),
  )
  expect(Buffer.from(outcome as Uint8Array).toString()).toBe('{"success":true}')
})

test('a body of a hundred thousand chunks of a byte takes the memory of its bytes', () => {
  const body = new Gathered()
  for (let i = 0; i < 100_000; i++) body.push(Buffer.from('x'))
  expect(body.length).toBe(100_000)
  expect(body.memory).toBeLessThanOrEqual(200_000)
  expect(body.bytes().equals(Buffer.alloc(100_000, 'x'))).toBe(true)
})

test('bodies of all answers that come have 32 MiB together: the largest ends', () => {
  const gathering = new Gathering()
  const ended: string[] = []
  const mebibyte = Buffer.alloc(1_048_576)
  const names = Array.from({ length: 31 }, (_, i) => `limb${i}`)
  const places = names.map((name) => gathering.enter(() => ended.push(name)))
  for (const place of places) gathering.push(place, mebibyte)
  const small = gathering.enter(() => ended.push('small'))
  const large = gathering.enter(() => ended.push('large'))
  gathering.push(small, Buffer.alloc(1024))
  gathering.push(large, Buffer.alloc(1_048_576 - 1024))
  expect(ended).toEqual([])
  gathering.push(large, Buffer.alloc(1024))
  expect(ended).toEqual(['large'])
  // What comes of it later is nobody's.
  gathering.push(large, mebibyte)
  for (const place of [...places, small]) gathering.leave(place)
  expect(gathering.bytes).toBe(0)
})

/** A connection whose parser takes four milliseconds for a piece. */
function connection(name: string, clock: FakeClock, said: string[]) {
  const given: Buffer[] = []
  const socket = Object.assign(new EventEmitter(), {
    destroyed: false,
    pause: () => said.push(`${name} rests`),
    resume: () => process.nextTick(() => given.splice(0).forEach((rest) => void socket.emit('data', rest))),
    unshift: (rest: Buffer) => given.unshift(rest),
  })
  socket.on('data', (piece: Buffer) => {
    clock.standStill(4)
    said.push(`${name} ${piece[0]} ${piece.length}`)
  })
  return socket
}

test('answers of all limbs are read in pieces that have ten milliseconds of a turn, each in its order', async () => {
  const clock = new FakeClock()
  const turns = new PacketTurns(clock)
  const said: string[] = []
  const [one, two] = ['one', 'two'].map((name) => {
    const request = new EventEmitter()
    readInTurns(request as ClientRequest, turns, () => said.push('failed'))
    const socket = connection(name, clock, said)
    request.emit('socket', socket)
    return socket
  })
  const packet = Buffer.concat(Array.from({ length: 5 }, (_, i) => Buffer.alloc(4096, i)))
  one?.emit('data', packet)
  two?.emit('data', packet)
  expect(said).toEqual(['one 0 4096', 'one 1 4096', 'one 2 4096', 'one rests', 'two rests'])
  for (let i = 0; i < 50 && said.filter((text) => text.endsWith('4096')).length < 10; i++) await turn()
  const of = (name: string) => said.filter((text) => text.startsWith(name) && text.endsWith('4096'))
  for (const name of ['one', 'two']) expect(of(name)).toEqual([0, 1, 2, 3, 4].map((i) => `${name} ${i} 4096`))
})
