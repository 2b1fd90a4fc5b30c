import { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { Throttle } from '../../src/broker/throttle.ts'
import type { Rates } from '../../src/broker/token-buckets.ts'
import { FakeClock } from '../support/fake-clock.ts'

const PINGREQ = 0xc0

/** A throttle, and what it did: turns are given by hand. */
function world(rates: Rates) {
  const clock = new FakeClock()
  const done: string[] = []
  const turns: (() => void)[] = []
  const time = { isOver: false }
  const conn = new Duplex({ read() {}, write: (_chunk, _encoding, sent) => sent() })
  const throttle = new Throttle({
    conn,
    clock,
    turns: {
      get isOver() {
        return time.isOver
      },
      wait: (goOn) => {
        turns.push(goOn)
        return () => turns.splice(turns.indexOf(goOn), 1)
      },
    },
    rates: () => rates,
    pause: () => done.push('pause'),
    resume: () => done.push('resume'),
    isIdle: () => false,
    held: () => done.push('held'),
  })
  const receive = (packets: number) => {
    for (let i = 0; i < packets; i++) throttle.received(PINGREQ, 2)
  }
  return { clock, done, turns, time, throttle, receive }
}

test('a connection that was held back goes on in its turn, as hundreds may at one moment', () => {
  const { clock, done, turns, throttle, receive } = world({ messages: 10, bytes: 10_000 })
  receive(21)
  expect(done).toEqual(['pause', 'held'])
  clock.advance(1000)
  expect(throttle.isHolding).toBe(true)
  expect(done).not.toContain('resume')
  turns.shift()?.()
  expect(done).toEqual(['pause', 'held', 'resume'])
  expect(throttle.isHolding).toBe(false)
})

test('very many small packets of one chunk are worked on some at a time, and that is no limit', () => {
  const { done, turns, throttle, receive } = world({ messages: 1e6, bytes: 1e9 })
  receive(31)
  expect(done).toEqual([])
  receive(1)
  expect(done).toEqual(['pause'])
  expect(throttle.isHolding).toBe(true)
  turns.shift()?.()
  expect(done).toEqual(['pause', 'resume'])
  receive(31)
  expect(turns).toEqual([])
  // One by one they take no turn of anybody.
  for (let i = 0; i < 100; i++) {
    throttle.newChunk()
    receive(1)
  }
  expect(turns).toEqual([])
})

test('one that is stopped waits for no turn', () => {
  const { turns, throttle, receive } = world({ messages: 1e6, bytes: 1e9 })
  receive(32)
  throttle.stop()
  expect(turns).toEqual([])
  expect(throttle.isHolding).toBe(false)
})

test('packets whose work took the time of the turn are worked on one in a turn', () => {
  const { done, turns, time, receive } = world({ messages: 1e6, bytes: 1e9 })
  receive(1)
  expect(done).toEqual([])
  time.isOver = true
  receive(1)
  expect(done).toEqual(['pause'])
  turns.shift()?.()
  expect(done).toEqual(['pause', 'resume'])
})

test('one that has used up what it may send waits for room as well, and not when that is there by then', () => {
  const { clock, done, turns, throttle, receive } = world({ messages: 10, bytes: 10_000 })
  const room = { isFull: true, waiting: [] as (() => void)[] }
  const hold = () =>
    throttle.holdUntil((goOn) => {
      if (!room.isFull) return undefined
      room.waiting.push(goOn)
      return () => room.waiting.splice(room.waiting.indexOf(goOn), 1)
    })
  const leave = () => {
    room.isFull = false
    for (const goOn of room.waiting.splice(0)) goOn()
  }
  receive(21)
  hold()
  clock.advance(1000)
  turns.shift()?.()
  expect(done).not.toContain('resume')
  leave()
  turns.shift()?.()
  expect(done.filter((what) => what === 'resume')).toHaveLength(1)
  // The room becomes free while it waits for something else.
  room.isFull = true
  receive(21)
  hold()
  leave()
  clock.advance(10_000)
  turns.shift()?.()
  expect(done.filter((what) => what === 'resume')).toHaveLength(2)
  expect(throttle.isHolding).toBe(false)
})

test('one that waits for its turn waits for room behind it', () => {
  const { done, turns, throttle, receive } = world({ messages: 1e6, bytes: 1e9 })
  const waiting: (() => void)[] = []
  let isFull = true
  receive(32)
  throttle.holdUntil((goOn) => {
    if (isFull) waiting.push(goOn)
    return isFull ? () => waiting.pop() : undefined
  })
  turns.shift()?.()
  expect(done).not.toContain('resume')
  isFull = false
  waiting.shift()?.()
  turns.shift()?.()
  expect(done).toContain('resume')
})
