import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { ValueTurns } from '../../../src/bridge/adapters/value-turns.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const leftOut: string[] = []

function makeTurns(): ValueTurns {
  leftOut.length = 0
  return new ValueTurns(new FakeClock(), (why) => leftOut.push(why))
}

/** A message of so many values, each of which writes its name. */
function message(name: string, values: number, written: string[]) {
  return (at: number) => {
    if (at < values) written.push(name)
    return at < values
  }
}

async function until(done: () => boolean): Promise<number> {
  let turns = 0
  for (; !done(); turns++) await turn()
  return turns
}

test('a message with many values is published sixty-four in a turn, and one with a few at once', async () => {
  const turns = makeTurns()
  const written: string[] = []
  turns.take('gw', 'all', 100, message('a', 1000, written))
  expect(written).toHaveLength(64)
  turns.take('cam', 'cam/t', 100, message('b', 3, written))
  expect(written.slice(64)).toEqual(['b', 'b', 'b'])
  expect(await until(() => written.length === 1003)).toBeGreaterThanOrEqual(15)
})

test('many messages of one limb in a turn have no more values in it than one', () => {
  const turns = makeTurns()
  const written: string[] = []
  for (let i = 0; i < 1000; i++) turns.take('gw', `t${i}`, 100, message('a', 60, written))
  expect(written).toHaveLength(64)
})

test('limbs take turns: who has one message does not wait for a thousand of another', async () => {
  const turns = makeTurns()
  const written: string[] = []
  for (let i = 0; i < 1000; i++) turns.take('gw', `t${i}`, 100, message('a', 60, written))
  await turn()
  turns.take('cam', 'cam/t', 100, message('b', 1, written))
  await until(() => written.includes('b'))
  expect(written.length).toBeLessThan(1000)
})

test('of the messages of a topic that wait, the newest counts', async () => {
  const turns = makeTurns()
  const written: string[] = []
  for (const name of ['first', 'second', 'third']) turns.take('gw', 'all', 100, message(name, 100, written))
  await until(() => written.length === 200)
  await turn()
  expect(new Set(written)).toEqual(new Set(['first', 'third']))
  expect(written.at(-1)).toBe('third')
  expect(leftOut).toEqual(['replaced'])
})

test('what waits has a bound in bytes for each limb and for all, and room is given back', async () => {
  const turns = makeTurns()
  const written: string[] = []
  const mib = 1_048_576
  turns.take('gw', 'one', mib, message('a', 100, written))
  turns.take('gw', 'two', 1, message('a', 1, written))
  expect(leftOut).toEqual(['no_room'])
  for (let i = 0; i < 16; i++) turns.take(`gw${i}`, 'one', mib, message('b', 100, written))
  expect(leftOut).toEqual(['no_room', 'no_room'])
  await until(() => written.length === 1600)
  await turn()
  turns.take('gw15', 'one', mib, message('c', 1, written))
  expect(written.at(-1)).toBe('c')
})
