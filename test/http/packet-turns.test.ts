import type { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { PacketTurns } from '../../src/http/packet-turns.ts'
import { FakeClock } from '../support/fake-clock.ts'

/** A connection that says what was done to it. */
function connection(name: string, said: string[]): Socket {
  return {
    destroyed: false,
    pause: () => said.push(`${name} rests`),
    resume: () => said.push(`${name} goes on`),
    unshift: (rest: Buffer) => said.push(`${name} is given back ${rest}`),
  } as unknown as Socket
}

/** Packets that take four milliseconds each. */
function world() {
  const clock = new FakeClock()
  const turns = new PacketTurns(clock)
  const said: string[] = []
  const take = (socket: Socket, text: string) =>
    turns.take(socket, Buffer.from(text), (packet) => {
      clock.standStill(4)
      said.push(String(packet))
    })
  return { turns, said, take }
}

test('packets of all connections have ten milliseconds of a turn, and wait in their order beyond', async () => {
  const { said, take } = world()
  const names = Array.from({ length: 8 }, (_, i) => `c${i}`)
  const parsed = () => said.filter((text) => text.startsWith('packet'))
  for (const name of names) take(connection(name, said), `packet of ${name}`)
  expect(parsed()).toEqual(['packet of c0', 'packet of c1', 'packet of c2'])
  expect(said).toContain('c3 rests')
  const inEachTurn = []
  while (parsed().length < names.length) {
    const before = parsed().length
    await turn()
    inEachTurn.push(parsed().length - before)
  }
  expect(parsed()).toEqual(names.map((name) => `packet of ${name}`))
  expect(Math.max(...inEachTurn)).toBe(3)
  expect(said.filter((text) => text.endsWith('goes on'))).toHaveLength(5)
})

test('a turn that has time takes each packet at once', async () => {
  const { said, take } = world()
  for (let i = 0; i < 5; i++) {
    take(connection('c', said), `packet ${i}`)
    expect(said).toEqual(Array.from({ length: i + 1 }, (_, n) => `packet ${n}`))
    await turn()
  }
})

test('of one connection one packet waits, what follows it is given back to be read in its order, and it goes on before its packet is taken', async () => {
  const { said, take } = world()
  for (let i = 0; i < 3; i++) take(connection('first', said), 'x')
  const socket = connection('c', said)
  take(socket, 'a')
  take(socket, 'b')
  await turn()
  await turn()
  expect(said.slice(3)).toEqual(['c rests', 'c rests', 'c is given back b', 'c goes on', 'a'])
})

test('a connection that somebody else reads gets back what waits of it, and is left alone', async () => {
  const { turns, said, take } = world()
  for (let i = 0; i < 3; i++) take(connection('first', said), 'x')
  const socket = connection('c', said)
  take(socket, 'a')
  take(socket, 'b')
  turns.leave(socket)
  await turn()
  await turn()
  expect(said.slice(3)).toEqual(['c rests', 'c rests', 'c is given back b', 'c is given back a'])
})

test('the ends of connections have the same time, in the same order', async () => {
  const { turns, said, take } = world()
  for (const name of ['a', 'b', 'c', 'd']) take(connection(name, []), name)
  turns.end(() => said.push('end of d'))
  expect(said).toEqual(['a', 'b', 'c'])
  while (said.length < 5) await turn()
  expect(said).toEqual(['a', 'b', 'c', 'd', 'end of d'])
  await turn()
  turns.end(() => said.push('end of a'))
  expect(said.at(-1)).toBe('end of a')
})
