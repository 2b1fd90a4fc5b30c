import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { TurnTime } from '../../src/kernel/turn-time.ts'
import { FakeClock } from '../support/fake-clock.ts'

/** Ten milliseconds of each turn, for works that take four. */
function world() {
  const clock = new FakeClock()
  const time = new TurnTime(clock, 10)
  const done: string[] = []
  const work = (name: string) => {
    clock.standStill(4)
    done.push(name)
  }
  return { time, done, work }
}

test('all have one time in a turn, whoever comes, and those who wait go on in their order', async () => {
  const { time, done, work } = world()
  const names = Array.from({ length: 8 }, (_, i) => `w${i}`)
  for (const name of names) {
    if (time.isLeft) work(name)
    else time.wait(() => work(name))
  }
  expect(done).toEqual(['w0', 'w1', 'w2'])
  const inEachTurn = []
  while (done.length < names.length) {
    const before = done.length
    await turn()
    inEachTurn.push(done.length - before)
  }
  expect(done).toEqual(names)
  expect(Math.max(...inEachTurn)).toBe(3)
  await turn()
  expect(time.isLeft).toBe(true)
})

test('who goes on asks again after each work, and those who wait go round in their order', async () => {
  const { time, done, work } = world()
  const several = async (name: string) => {
    for (let i = 0; i < 4; i++) {
      if (!time.isLeft) await time.next()
      work(name)
    }
  }
  const all = Promise.all(['a', 'b', 'c'].map(several))
  expect(done).toEqual(['a', 'a', 'a'])
  let before = done.length
  const inEachTurn = []
  while (done.length < 12) {
    await turn()
    inEachTurn.push(done.length - before)
    before = done.length
  }
  await all
  expect(Math.max(...inEachTurn)).toBe(3)
  expect(done.join('')).toBe('aaaabcbcbcbc')
})

test('whoever is taken back is not called, and nobody goes before those who wait', async () => {
  const { time, done, work } = world()
  while (time.isLeft) work('first')
  const leave = time.wait(() => work('left'))
  time.wait(() => work('waited'))
  leave()
  expect(time.isLeft).toBe(false)
  await turn()
  await turn()
  expect(done.slice(3)).toEqual(['waited'])
})

test('a turn of the event loop has one time, before its immediates and in them', async () => {
  const { time, done, work } = world()
  const inTurn = await new Promise<number>((resolve) => {
    // A timer's call comes before the immediates of its turn.
    setTimeout(() => {
      for (let i = 0; i < 8; i++) {
        if (time.isLeft) work(`w${i}`)
        else time.wait(() => work(`w${i}`))
      }
      setImmediate(() => resolve(done.length))
    })
  })
  expect(inTurn).toBe(3)
  while (done.length < 8) await turn()
})

test('all kinds of work have one time in a turn together, and none is starved by the others', async () => {
  const clock = new FakeClock()
  const kinds = Array.from({ length: 7 }, () => ({ time: new TurnTime(clock, 10), done: 0 }))
  const work = (kind: (typeof kinds)[number]) => {
    clock.standStill(1)
    kind.done++
  }
  const doneByAll = () => kinds.map(({ done }) => done)
  const inATurn = await new Promise<readonly number[]>((resolve) => {
    setTimeout(() => {
      for (const kind of kinds) {
        for (let i = 0; i < 40; i++) {
          if (kind.time.isLeft) work(kind)
          else kind.time.wait(() => work(kind))
        }
      }
      setImmediate(() => resolve(doneByAll()))
    })
  })
  // Two take ten milliseconds each, and the five others a quarter of theirs, begun works to their end.
  expect(inATurn).toEqual([10, 10, 3, 3, 3, 3, 3])
  let [longest, before] = [0, inATurn]
  while (doneByAll().some((done) => done < 40)) {
    await turn()
    const now = doneByAll()
    const each = now.map((done, i) => done - (before[i] ?? 0))
    longest = Math.max(
      longest,
      each.reduce((sum, done) => sum + done, 0),
    )
    before = now
  }
  expect(longest).toBeLessThanOrEqual(35)
})
