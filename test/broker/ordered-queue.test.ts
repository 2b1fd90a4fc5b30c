import { expect, test } from 'vitest'
import { OrderedQueue } from '../../src/broker/ordered-queue.ts'

function recorder() {
  const ran: string[] = []
  const errors: unknown[] = []
  const queue = new OrderedQueue((error) => errors.push(error))
  return { ran, errors, queue, task: (name: string) => () => void ran.push(name) }
}

test('a task with nothing before it runs at once', () => {
  const { queue, ran, task } = recorder()
  queue.run(task('a'))
  expect(ran).toEqual(['a'])
  expect(queue.length).toBe(0)
})

test('a task waits for what was handed in before it', () => {
  const { queue, ran, task } = recorder()
  const first = queue.hold(task('a'))
  const second = queue.hold(task('b'))
  queue.run(task('c'))
  queue.release(second)
  expect(ran).toEqual([])
  queue.release(first)
  expect(ran).toEqual(['a', 'b', 'c'])
})

test('what a task hands in runs after it, not within it', () => {
  const { queue, ran, task } = recorder()
  queue.run(() => {
    queue.run(task('inner'))
    ran.push('outer')
  })
  expect(ran).toEqual(['outer', 'inner'])
})

test('a task that throws is reported and the next one runs', () => {
  const { queue, ran, errors, task } = recorder()
  const held = queue.hold(() => {
    throw new Error('no')
  })
  queue.run(task('b'))
  queue.release(held)
  expect(ran).toEqual(['b'])
  expect(errors).toHaveLength(1)
})

test('releasing all keeps the order, and a late release does no harm', () => {
  const { queue, ran, task } = recorder()
  const a = queue.hold(task('a'))
  queue.hold(task('b'))
  queue.releaseAll()
  queue.release(a)
  queue.run(task('c'))
  expect(ran).toEqual(['a', 'b', 'c'])
  expect(queue.length).toBe(0)
})

test('a hundred thousand waiting tasks do not exhaust the stack', () => {
  const { queue } = recorder()
  let count = 0
  const gate = queue.hold(() => undefined)
  for (let i = 0; i < 100_000; i++) queue.run(() => count++)
  queue.release(gate)
  expect(count).toBe(100_000)
})

/** A queue that runs two tasks in a turn; turns are given by hand. */
function paced() {
  const { ran, task } = recorder()
  let inTurn = 0
  let later: (() => void) | undefined
  const queue = new OrderedQueue(() => undefined, {
    get isInTime() {
      return inTurn++ < 2
    },
    later: (go) => {
      later = go
    },
  })
  const turn = () => {
    inTurn = 0
    later?.()
  }
  return { ran, task, queue, turn }
}

test('what was released at one moment runs in as many turns as it takes, and nothing overtakes it', () => {
  const { ran, task, queue, turn } = paced()
  const tickets = ['a', 'b', 'c', 'd', 'e'].map((name) => queue.hold(task(name)))
  for (const ticket of tickets) queue.release(ticket)
  expect(ran).toEqual(['a', 'b'])
  queue.run(task('f'))
  expect(ran).toEqual(['a', 'b'])
  turn()
  expect(ran).toEqual(['a', 'b', 'c', 'd'])
  turn()
  turn()
  expect(ran).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
})

test('at the end all that waits runs at once, whether it was released or not, and a turn that comes later finds nothing', () => {
  const { ran, task, queue, turn } = paced()
  const tickets = ['a', 'b', 'c', 'd'].map((name) => queue.hold(task(name)))
  for (const ticket of tickets.slice(0, 3)) queue.release(ticket)
  expect(ran).toEqual(['a', 'b'])
  queue.runAll()
  expect(ran).toEqual(['a', 'b', 'c', 'd'])
  turn()
  expect(ran).toEqual(['a', 'b', 'c', 'd'])
})
