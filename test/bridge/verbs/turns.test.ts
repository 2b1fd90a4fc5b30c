import { describe, expect, test } from 'vitest'
import { PrincipalTurns, type TurnOwner } from '../../../src/bridge/verbs/turns.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const owner = (name: string, role: TurnOwner['role'] = 'viewer', local = false): TurnOwner => ({
  name,
  role,
  local,
})

/** Work costs what the test says: the clock moves while it runs. */
function fixture(msPerSecond = 100) {
  const clock = new FakeClock()
  const told = { isBehind: false }
  const turns = new PrincipalTurns(clock, { maxWorkMsPerSecond: msPerSecond }, () => told.isBehind)
  const ran: string[] = []
  const ask = (who: TurnOwner, costMs = 1, label = who.name) =>
    turns.take(who, () => {
      ran.push(label)
      clock.advance(costMs)
    })
  /** Everything that may run has run. */
  const settle = async () => {
    for (let i = 0; i < 600; i++) await new Promise((resolve) => setImmediate(resolve))
  }
  return { clock, turns, told, ran, ask, settle }
}

describe('turns of principals', () => {
  test('a request runs at once when nobody waits', () => {
    const { ran, ask } = fixture()
    expect(ask(owner('ann'))).toBe(true)
    expect(ran).toEqual(['ann'])
  })

  test('who asks often keeps nobody from asking once, and the control socket and operators come first', async () => {
    const { ran, ask, settle } = fixture(1000)
    for (let i = 0; i < 5; i++) ask(owner('greedy'), 1, `greedy ${i}`)
    ask(owner('dash'))
    ask(owner('olga', 'operator'))
    ask(owner('admin', 'admin', true))
    await settle()
    expect(ran).toEqual(['greedy 0', 'admin', 'olga', 'greedy 1', 'dash', 'greedy 2', 'greedy 3', 'greedy 4'])
  })

  test('a request whose answer would wait behind what is being told waits, and the control socket does not', async () => {
    const { clock, told, ran, ask, settle } = fixture(1000)
    told.isBehind = true
    ask(owner('dash'))
    ask(owner('admin', 'admin', true))
    await settle()
    expect(ran).toEqual(['admin'])
    told.isBehind = false
    clock.advance(10)
    await settle()
    expect(ran).toEqual(['admin', 'dash'])
  })

  test('a name on the control socket is another one than the same name elsewhere', async () => {
    const { ran, ask, settle } = fixture(10)
    for (let i = 0; i < 4; i++) ask(owner('ann', 'admin'), 30, 'afar')
    ask(owner('ann', 'admin', true), 1, 'here')
    await settle()
    expect(ran).toEqual(['afar', 'here'])
  })

  test('who has spent its time waits, others do not, and it goes on when there is time again', async () => {
    const { clock, ran, ask, settle } = fixture(100)
    for (let i = 0; i < 4; i++) ask(owner('greedy'), 150)
    ask(owner('dash'))
    await settle()
    // A burst of two seconds is 200 ms: the second one was begun with 50 ms left.
    expect(ran).toEqual(['greedy', 'greedy', 'dash'])
    clock.advance(1100)
    await settle()
    expect(ran).toEqual(['greedy', 'greedy', 'dash', 'greedy'])
  })

  test('the bytes that wait are bounded for one principal and for all, and each may have one request that waits', () => {
    const MIB = 1024 * 1024
    const { turns } = fixture(100)
    const names = Array.from({ length: 12 }, (_, i) => `greedy${i}`)
    // Each has spent its time, so that its requests wait.
    for (const name of names) turns.charge(owner(name), 1000)
    const large = (name: string) => turns.take(owner(name), () => {}, 1.5 * MIB)
    const taken = names.map((name) => [large(name), large(name), large(name)].filter(Boolean).length)
    // Two of three are 3 of 4 MiB; of the last ones all of 32 MiB leave room for one each.
    expect(taken).toEqual([2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1])
    expect(turns.take(owner('late'), () => {}, 1.5 * MIB)).toBe(true)
    expect(turns.take(owner('admin', 'admin', true), () => {}, 8 * MIB)).toBe(true)
  })

  test('too many that wait are refused, and its sessions are not read for a while', async () => {
    const { ask, turns, settle } = fixture(100)
    ask(owner('greedy'), 400)
    await settle()
    let taken = 0
    while (taken < 1000 && ask(owner('greedy'))) taken++
    expect(taken).toBe(64)
    expect(turns.holdMs(owner('greedy'))).toBeGreaterThan(1000)
    expect(turns.holdMs(owner('greedy'))).toBeLessThanOrEqual(2000)
    expect(turns.holdMs(owner('dash'))).toBe(0)
  })

  test('after ten milliseconds other callbacks of the event loop run first', async () => {
    const { ran, ask } = fixture(1000)
    for (let i = 0; i < 10; i++) ask(owner('ann'), 4, `ann ${i}`)
    const before = await new Promise<number>((resolve) => setImmediate(() => resolve(ran.length)))
    expect(before).toBeLessThanOrEqual(4)
  })

  test('requests of one turn share ten milliseconds, also those that come when nobody waits any more', async () => {
    const { ran, ask, settle } = fixture(1000)
    for (let i = 0; i < 20; i++) {
      ask(owner(`p${i}`), 4)
      // Each has been answered before the next socket is read, in the same turn.
      await new Promise<void>((resolve) => process.nextTick(resolve))
    }
    expect(ran.length).toBeLessThanOrEqual(4)
    await settle()
    expect(ran).toHaveLength(20)
  })

  test('a name that asks for nothing is forgotten when a thousand others have asked', async () => {
    const { clock, ran, ask, settle } = fixture(100)
    ask(owner('greedy'), 1000)
    await settle()
    // It owes more than these two seconds give: remembered, it would wait.
    clock.advance(2100)
    for (let i = 0; i < 1000; i++) ask(owner(`p${i}`), 0, 'other')
    await settle()
    ran.length = 0
    ask(owner('greedy'))
    await settle()
    expect(ran).toEqual(['greedy'])
  })
})
