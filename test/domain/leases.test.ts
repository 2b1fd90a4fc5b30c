import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type Lease,
  LeaseBook,
  type LeaseChange,
  type LeaseWish,
  type Waiter,
} from '../../src/domain/leases.ts'
import type { MonotonicMs } from '../../src/kernel/clock.ts'

const limits = { maxPerPrincipal: 100, maxQueued: 100 }
const at = (ms: number) => ms as MonotonicMs
let ids = 0
const wishOf = (principal: string, more: Partial<LeaseWish> = {}): LeaseWish => ({
  leaseId: `ls_${++ids}`,
  nodeId: 'n',
  capability: 'c',
  principal,
  single: false,
  ttlMs: 100,
  ...more,
})

type Step =
  | {
      do: 'take'
      principal: string
      thing: string
      single: boolean
      ttlMs: number
      waitMs: number
      stays: boolean
    }
  | { do: 'release' | 'renew'; which: number }
  | { do: 'pass'; ms: number }
  | { do: 'endPrincipal'; principal: string }
  | { do: 'endNode'; nodeId: string }

const principal = fc.constantFrom('ann', 'bob', 'cid', 'dot')
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('take' as const),
      principal,
      thing: fc.constantFrom('n1/c', 'n1/d', 'n2/c'),
      single: fc.boolean(),
      ttlMs: fc.integer({ min: 1, max: 50 }),
      waitMs: fc.integer({ min: 0, max: 80 }),
      stays: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('release', 'renew'),
      which: fc.nat(20),
    }) as fc.Arbitrary<Step>,
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 40 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('endPrincipal' as const), principal }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('endNode' as const), nodeId: fc.constantFrom('n1', 'n2') }),
  },
)

/** What an onlooker who hears every answer knows; it is checked at each step. */
class Onlooker {
  readonly holder = new Map<string, Lease>()
  /** Who waits for each thing, in the order of asking. */
  readonly waiting = new Map<string, Waiter[]>()

  granted(lease: Lease): void {
    const thing = `${lease.wish.nodeId}/${lease.wish.capability}`
    expect(this.holder.get(thing), `two holders of ${thing}`).toBeUndefined()
    this.holder.set(thing, lease)
  }

  heard(changes: readonly LeaseChange[]): void {
    for (const change of changes) {
      if (change.kind === 'ended') {
        const thing = `${change.lease.wish.nodeId}/${change.lease.wish.capability}`
        expect(this.holder.get(thing)).toBe(change.lease)
        this.holder.delete(thing)
        continue
      }
      const { nodeId, capability } = change.waiter.wish
      const queue = this.waiting.get(`${nodeId}/${capability}`) ?? []
      if ('lease' in change && change.kind !== 'gave_up') {
        expect(change.waiter.alive(), 'one who had gone got it').toBe(true)
      }
      if (change.kind === 'granted') {
        expect(queue[0], 'somebody was overtaken').toBe(change.waiter)
        this.granted(change.lease)
      }
      if (change.kind === 'shared' || change.kind === 'renewed') {
        expect(change.waiter.wish.single).toBe(change.kind === 'shared')
        expect(change.lease.wish).toMatchObject({ principal: change.waiter.wish.principal, single: false })
      }
      queue.splice(queue.indexOf(change.waiter), 1)
    }
  }
}

describe('the book of leases', () => {
  it('has one holder of a thing at most, serves in the order of asking, and forgets what is over', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const book = new LeaseBook(limits)
        const onlooker = new Onlooker()
        const all: Lease[] = []
        let now = 1000
        for (const each of steps) {
          onlooker.heard(book.expire(at(now)))
          run(each)
          for (const lease of book.values())
            expect(lease.deadline, 'a lease outlived its time').toBeGreaterThan(now)
          expect([...book.values()].sort(byId)).toEqual([...onlooker.holder.values()].sort(byId))
        }
        // Nobody renews: a thing is free again after the longest time of each who waits.
        for (let i = 1; i <= 300; i++) onlooker.heard(book.expire(at(now + i * 50)))
        expect(book.size).toBe(0)
        expect([...onlooker.waiting.values()].flat()).toEqual([])
        expect(book.next).toBe(Number.POSITIVE_INFINITY)

        function run(each: Step): void {
          const pick = 'which' in each ? all[each.which % Math.max(1, all.length)] : undefined
          switch (each.do) {
            case 'pass':
              now += each.ms
              onlooker.heard(book.expire(at(now)))
              return
            case 'endPrincipal':
              onlooker.heard(book.endPrincipal(each.principal, at(now)))
              for (const { wish } of book.values())
                expect(wish.principal === each.principal && !wish.single).toBe(false)
              return
            case 'endNode':
              onlooker.heard(book.endNode(each.nodeId, at(now)))
              for (const lease of book.values()) expect(lease.wish.nodeId).not.toBe(each.nodeId)
              return
            case 'release':
              if (pick) onlooker.heard(book.end(pick, 'released', at(now)))
              return
            case 'renew':
              if (pick) expect(book.renew(pick, 30, at(now))).toBe(book.get(pick.wish.leaseId) === pick)
              return
            case 'take': {
              const [nodeId = '', capability = ''] = each.thing.split('/')
              const wish = wishOf(each.principal, {
                nodeId,
                capability,
                single: each.single,
                ttlMs: each.ttlMs,
              })
              const waitUntil = each.waitMs === 0 ? undefined : at(now + each.waitMs)
              const taken = book.take(wish, at(now), waitUntil, () => each.stays)
              if (taken.kind === 'granted') onlooker.granted(taken.lease)
              if (taken.kind === 'granted') all.push(taken.lease)
              if (taken.kind === 'queued') {
                const queue = onlooker.waiting.get(each.thing) ?? []
                queue.push(taken.waiter)
                onlooker.waiting.set(each.thing, queue)
              }
            }
          }
        }
      }),
      { numRuns: 500 },
    )
  })

  it('lets no name pose as two: (a, b.c) and (a.b, c) are different things', () => {
    const book = new LeaseBook(limits)
    expect(book.take(wishOf('ann', { nodeId: 'a', capability: 'b.c' }), at(0), undefined).kind).toBe(
      'granted',
    )
    expect(book.take(wishOf('bob', { nodeId: 'a.b', capability: 'c' }), at(0), undefined).kind).toBe(
      'granted',
    )
    expect(
      book.take(wishOf('bob', { nodeId: '__proto__', capability: 'constructor' }), at(0), undefined).kind,
    ).toBe('granted')
  })

  it("runs a principal's waiting invocations under the lease that it gets meanwhile", () => {
    const book = new LeaseBook(limits)
    const first = book.take(wishOf('bob'), at(0), undefined)
    book.take(wishOf('ann'), at(0), at(50))
    book.take(wishOf('ann', { single: true }), at(0), at(50))
    book.take(wishOf('cid', { single: true }), at(0), at(50))
    const changes = first.kind === 'granted' ? book.end(first.lease, 'released', at(1)) : []
    expect(changes.map((change) => change.kind)).toEqual(['ended', 'granted', 'shared'])
    expect(book.queued('n', 'c')).toBe(1)
  })

  it('gives to a principal that asked twice one lease, with the later end, and passes over those who have gone', () => {
    const book = new LeaseBook(limits)
    const gone = () => false
    const first = book.take(wishOf('bob'), at(0), undefined)
    book.take(wishOf('ann'), at(0), at(50), gone)
    book.take(wishOf('ann', { ttlMs: 10 }), at(0), at(50))
    book.take(wishOf('ann', { single: true }), at(0), at(50), gone)
    book.take(wishOf('cid'), at(0), at(50))
    book.take(wishOf('ann', { ttlMs: 500 }), at(0), at(50))
    const changes = first.kind === 'granted' ? book.end(first.lease, 'released', at(1)) : []
    expect(changes.map((change) => change.kind)).toEqual(['ended', 'gone', 'granted', 'gone', 'renewed'])
    expect(book.of('n', 'c')).toMatchObject({ wish: { principal: 'ann' }, deadline: 501 })
    expect(book.queued('n', 'c')).toBe(1)
  })

  it('is bounded for a principal and for a thing', () => {
    const book = new LeaseBook({ maxPerPrincipal: 2, maxQueued: 1 })
    book.take(wishOf('ann', { nodeId: 'a' }), at(0), undefined)
    book.take(wishOf('ann', { nodeId: 'b' }), at(0), undefined)
    expect(book.take(wishOf('ann', { nodeId: 'c' }), at(0), undefined).kind).toBe('too_many')
    expect(book.take(wishOf('bob', { nodeId: 'a' }), at(0), at(9)).kind).toBe('queued')
    expect(book.take(wishOf('cid', { nodeId: 'a' }), at(0), at(9)).kind).toBe('queue_full')
  })

  it('keeps no trace of a hundred thousand leases that ended early', () => {
    const book = new LeaseBook(limits)
    for (let i = 0; i < 100_000; i++) {
      const taken = book.take(wishOf('ann', { single: true, ttlMs: 3_600_000 }), at(i), undefined)
      if (taken.kind === 'granted') book.end(taken.lease, 'released', at(i))
    }
    expect(book.size).toBe(0)
    expect(book.heapSize).toBeLessThan(3000)
  })
})

function byId(a: Lease, b: Lease): number {
  return a.wish.leaseId < b.wish.leaseId ? -1 : 1
}
