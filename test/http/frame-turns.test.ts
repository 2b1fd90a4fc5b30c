import { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { WebSocket } from 'ws'
import { FrameTurns } from '../../src/http/frame-turns.ts'
import { FakeClock } from '../support/fake-clock.ts'

const PIECE = 2048

/** WebSockets that take two milliseconds for each piece that they are given. */
function world() {
  const clock = new FakeClock()
  const turns = new FrameTurns(clock)
  const taken: string[] = []
  const open = (name: string) => {
    const socket = { isPaused: false }
    const raw = Object.assign(new EventEmitter(), {
      isRead: true,
      rest: 'more',
      read: () => Object.assign(raw, { rest: '' }),
      pause: () => Object.assign(raw, { isRead: false }),
      resume: () => Object.assign(raw, { isRead: true }),
    })
    function socketOnData(piece: Buffer): void {
      clock.standStill(2)
      taken.push(`${name} ${piece.length}`)
    }
    raw.on('data', socketOnData)
    const frames = turns.pace(socket as unknown as WebSocket, raw as unknown as Duplex)
    return { socket, raw, frames, hear: (bytes: number) => raw.emit('data', Buffer.alloc(bytes)) }
  }
  return { open, taken }
}

test('frames of all WebSockets have five milliseconds of a turn, and connections take turns', async () => {
  const { open, taken } = world()
  const [one, two] = [open('one'), open('two')]
  one.hear(6 * PIECE)
  two.hear(2 * PIECE)
  expect(taken).toEqual(['one 2048', 'one 2048', 'one 2048'])
  expect([one, two].map(({ raw }) => raw.isRead)).toEqual([false, false])
  expect(one.frames.waitingBytes).toBe(3 * PIECE)
  const inEachTurn = []
  while (one.frames.waitingBytes + two.frames.waitingBytes > 0) {
    const before = taken.length
    await turn()
    inEachTurn.push(taken.length - before)
  }
  expect(Math.max(...inEachTurn)).toBeLessThanOrEqual(3)
  expect(taken.slice(3)).toEqual(['one 2048', 'two 2048', 'one 2048', 'two 2048', 'one 2048'])
  expect([one, two].map(({ raw }) => raw.isRead)).toEqual([true, true])
})

test('a small chunk is taken at once, and a connection that is read is not stopped', async () => {
  const { open, taken } = world()
  const one = open('one')
  for (let i = 1; i < 5; i++) {
    one.hear(i)
    expect(taken.at(-1)).toBe(`one ${i}`)
    expect(one.raw.isRead).toBe(true)
    await turn()
  }
})

test('what waits for a reader that takes no more goes on when it does, and is told then', async () => {
  const { open, taken } = world()
  const one = open('one')
  let told = 0
  one.frames.onTaken = () => told++
  one.socket.isPaused = true
  one.hear(PIECE)
  await turn()
  expect(taken).toEqual([])
  expect(one.raw.isRead).toBe(false)
  one.socket.isPaused = false
  // As ws does.
  one.raw.resume()
  one.frames.goOn()
  expect(one.raw.isRead).toBe(false)
  while (one.frames.waitingBytes > 0) await turn()
  expect(taken).toEqual(['one 2048'])
  expect(told).toBe(1)
  expect(one.raw.isRead).toBe(true)
})

test('what waits of a connection that is gone is nobody’s', async () => {
  const { open, taken } = world()
  const one = open('one')
  one.hear(6 * PIECE)
  one.raw.emit('close')
  expect(one.frames.waitingBytes).toBe(0)
  expect(one.raw.rest).toBe('')
  const before = taken.length
  for (let i = 0; i < 3; i++) await turn()
  expect(taken).toHaveLength(before)
})
