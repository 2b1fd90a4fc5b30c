import { once } from 'node:events'
import { type AddressInfo, connect, createServer, Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { HandshakeTurns } from '../../src/kernel/handshake-turns.ts'
import { clientHello } from '../support/client-hello.ts'
import { FakeClock } from '../support/fake-clock.ts'

const HELLO_MS = 5000

/** A listener whose handshakes take four milliseconds each, and say what they were given. */
async function world() {
  const clock = new FakeClock()
  const turns = new HandshakeTurns({ clock, helloMs: () => HELLO_MS })
  const begun: Buffer[] = []
  const failed: string[] = []
  const server = createServer((raw) =>
    turns.enter(
      raw,
      () => {
        clock.standStill(4)
        begun.push(raw.read() as Buffer)
      },
      (reason) => {
        failed.push(reason)
        server.emit('failed')
      },
    ),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const dial = async () => {
    const accepted = once(server, 'connection')
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => undefined)
    onTestFinished(() => void socket.destroy())
    const [raw] = (await accepted) as [Socket]
    return { socket, raw }
  }
  onTestFinished(() => void server.close())
  return { clock, turns, server, begun, failed, dial }
}

test('handshakes that begin at the same moment have eight milliseconds of a turn, and wait in their order beyond', async () => {
  const { begun, dial } = await world()
  const hello = await clientHello()
  const clients = []
  for (let i = 0; i < 9; i++) clients.push(await dial())
  for (const { socket } of clients) socket.write(hello)
  let most = 0
  for (let before = 0; begun.length < clients.length; before = begun.length) {
    await turn()
    most = Math.max(most, begun.length - before)
  }
  expect(most).toBe(2)
  expect(begun.every((given) => given.equals(hello))).toBe(true)
})

test('a handshake begins when the first message of the client is whole', async () => {
  const { begun, dial } = await world()
  const hello = await clientHello()
  const { socket, raw } = await dial()
  socket.write(hello.subarray(0, 700))
  while (raw.bytesRead < 700) await turn()
  for (let i = 0; i < 5; i++) await turn()
  expect(begun).toEqual([])
  socket.write(hello.subarray(700))
  while (begun.length === 0) await turn()
  expect(begun).toEqual([hello])
})

test('who speaks no TLS is handed on, to be told so', async () => {
  const { begun, dial } = await world()
  const { socket } = await dial()
  socket.write('GET / HTTP/1.1\r\n\r\n')
  while (begun.length === 0) await turn()
  expect(String(begun[0])).toBe('GET / HTTP/1.1\r\n\r\n')
})

test('a first message that never ends fails at sixteen kibibytes, and one that is not whole in time then', async () => {
  const { clock, server, failed, dial } = await world()
  const { socket } = await dial()
  const [long, late] = [Buffer.alloc(20_000), Buffer.from([22, 3, 1, 2, 0, 1])]
  // Two records of one message of a megabyte.
  long.set([22, 3, 1, 0x3f, 0xff, 1, 0x10, 0, 0])
  long.set([22, 3, 1, 0x3f, 0xff], 5 + 0x3fff)
  const ended = once(socket, 'close')
  socket.write(long)
  await ended
  expect(failed).toEqual(['the first message of TLS is too long'])
  const { socket: slow, raw } = await dial()
  slow.write(late)
  while (raw.bytesRead < late.length) await turn()
  const isOver = once(server, 'failed')
  clock.advance(HELLO_MS)
  await isOver
  expect(failed[1]).toBe('TLS handshake timeout (ERR_TLS_HANDSHAKE_TIMEOUT)')
  expect(clock.timers).toBe(0)
})

test('who has gone before its turn fails once, and is not handed on', async () => {
  const { clock, server, begun, failed, dial } = await world()
  const { socket } = await dial()
  const isOver = once(server, 'failed')
  socket.resetAndDestroy()
  await isOver
  expect([failed, begun]).toEqual([['socket hang up (ECONNRESET)'], []])
  expect(clock.timers).toBe(0)
})

test('what the end of a handshake brings about has the same time', async () => {
  const { clock, turns } = await world()
  const opened: number[] = []
  for (let i = 0; i < 6; i++)
    turns.secured(new Socket(), () => {
      clock.standStill(4)
      opened.push(i)
    })
  expect(opened).toEqual([0, 1])
  while (opened.length < 6) await turn()
  expect(opened).toEqual([0, 1, 2, 3, 4, 5])
})
