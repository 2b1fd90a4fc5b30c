import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Deadlined, DeadlineHeap } from '../../src/kernel/deadlines.ts'

interface Item extends Deadlined {
  name: number
}

const item = (name: number): Item => ({ name, deadline: Infinity, scheduledAt: Infinity })

function drain(heap: DeadlineHeap<Item>, now: number): number[] {
  const due: number[] = []
  for (let next = heap.takeDue(now); next; next = heap.takeDue(now)) due.push(next.name)
  return due
}

describe('DeadlineHeap', () => {
  it('gives back what is due, and nothing before its time', () => {
    const heap = new DeadlineHeap<Item>()
    const a = item(1)
    a.deadline = 10
    heap.schedule(a)
    expect(drain(heap, 9)).toEqual([])
    expect(drain(heap, 10)).toEqual([1])
    expect(drain(heap, 1000)).toEqual([])
  })

  it('follows a deadline that moved later without being told', () => {
    const heap = new DeadlineHeap<Item>()
    const a = item(1)
    a.deadline = 10
    heap.schedule(a)
    a.deadline = 25
    expect(drain(heap, 20)).toEqual([])
    expect(heap.next).toBe(25)
    expect(drain(heap, 25)).toEqual([1])
  })

  it('follows a deadline that moved earlier when it is told', () => {
    const heap = new DeadlineHeap<Item>()
    const a = item(1)
    a.deadline = 100
    heap.schedule(a)
    a.deadline = 5
    heap.schedule(a)
    expect(drain(heap, 5)).toEqual([1])
    expect(drain(heap, 200)).toEqual([])
  })

  it('does not pile up entries of a limb that drops and comes back over and over', () => {
    const heap = new DeadlineHeap<Item>()
    const a = item(1)
    let now = 0
    for (let i = 0; i < 50_000; i++) {
      a.deadline = now + 1e9
      heap.schedule(a)
      a.deadline = now + 5
      heap.schedule(a)
      a.deadline = now + 1e9
      now += 6
      drain(heap, now)
    }
    expect(heap.size).toBeLessThan(2000)
  })

  it('agrees with a list that is searched from end to end', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), who: fc.nat(7), inMs: fc.nat(50) }),
      fc.record({ kind: fc.constant('later' as const), who: fc.nat(7), inMs: fc.nat(50) }),
      fc.record({ kind: fc.constant('never' as const), who: fc.nat(7) }),
      fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(30) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const heap = new DeadlineHeap<Item>()
        const items = Array.from({ length: 8 }, (_, name) => item(name))
        let now = 0
        for (const s of steps) {
          if (s.kind === 'wait') {
            now += s.ms
            const expected = items.filter((i) => i.deadline <= now).map((i) => i.name)
            const due = drain(heap, now)
            expect(due.sort()).toEqual(expected.sort())
            for (const i of items) if (i.deadline <= now) i.deadline = Infinity
          } else {
            const target = items[s.who] as Item
            if (s.kind === 'never') target.deadline = Infinity
            else if (s.kind === 'set') target.deadline = now + s.inMs + 1
            else if (target.deadline !== Infinity) target.deadline += s.inMs
            else continue
            heap.schedule(target)
          }
        }
      }),
    )
  })
})
