import type { MonotonicMs } from '../kernel/clock.ts'
import { type Deadlined, DeadlineHeap } from '../kernel/deadlines.ts'
import type { LeaseEndReason } from '../protocol/events.ts'

/**
 * Decides who may use an exclusive thing now, and who is next. A thing is (node, capability); it has one holder at
 * most, each lease ends by itself, and those who wait are served in the order in which they came. Pure: ids and
 * monotonic time are passed in, and what time did to others comes back as a list of changes.
 */

/** A wish of somebody to hold a thing. */
export interface LeaseWish {
  /** The id that the lease will have. */
  readonly leaseId: string
  readonly nodeId: string
  readonly capability: string
  readonly principal: string
  /**
   * Is true for a lease of one invocation: it belongs to that one alone, and other invocations of the same principal
   * wait too.
   */
  readonly single: boolean
  readonly ttlMs: number
}

export interface Lease extends Deadlined {
  readonly wish: LeaseWish
  /**
   * The time at which it ends unless it is renewed, monotonic. It stays as it was when the lease ends, at whatever
   * time.
   */
  deadline: number
  /** Rises with every lease; the store gives it, in the transaction that records the lease. */
  fence: number | undefined
  /** Invocations that run under it; the thing is free when it has ended and they have. */
  uses: number
  /** The time at which the last of those ends at the latest, monotonic. */
  usedUntil: number
}

/** One who waits. Its deadline is when it gives up. */
export interface Waiter extends Deadlined {
  readonly wish: LeaseWish
  /** Returns whether anybody still wants it. Is asked at its turn. */
  readonly alive: () => boolean
}

export type Taken =
  /** The thing is yours; `renewed` when it was before. */
  | { readonly kind: 'granted' | 'renewed'; readonly lease: Lease }
  /** An invocation of the holder: it runs under the lease that its principal has. */
  | { readonly kind: 'shared'; readonly lease: Lease }
  | { readonly kind: 'queued'; readonly waiter: Waiter }
  | { readonly kind: 'held'; readonly lease: Lease }
  | { readonly kind: 'queue_full'; readonly lease: Lease }
  | { readonly kind: 'too_many' }

/** A change that an event made beside what it was about. Changes stand in the order in which they happened. */
export type LeaseChange =
  | { readonly kind: 'ended'; readonly lease: Lease; readonly why: LeaseEndReason }
  | { readonly kind: 'granted'; readonly lease: Lease; readonly waiter: Waiter }
  /** The waiter's principal got a lease meanwhile: its invocation runs under it (`shared`), or it takes it again. */
  | { readonly kind: 'shared' | 'renewed'; readonly lease: Lease; readonly waiter: Waiter }
  /** Nobody wanted it any more when its turn came. */
  | { readonly kind: 'gone'; readonly waiter: Waiter }
  | { readonly kind: 'gave_up'; readonly waiter: Waiter; readonly lease: Lease }
  /** The node or the principal is no more. */
  | { readonly kind: 'dismissed'; readonly waiter: Waiter; readonly why: LeaseEndReason }

export interface LeaseLimits {
  /** Leases and places in queues of one principal. */
  readonly maxPerPrincipal: number
  /** The number of those who may wait for one thing. */
  readonly maxQueued: number
}

interface Slot {
  lease: Lease
  queue: Waiter[]
}

type Entry = Lease | Waiter

const NEVER = Number.POSITIVE_INFINITY
const isLease = (entry: Entry): entry is Lease => 'fence' in entry

export class LeaseBook {
  readonly #limits: LeaseLimits
  /**
   * Slots by node, then by capability: the two are never joined, so that no name can pose as two. A slot has a
   * holder.
   */
  readonly #slots = new Map<string, Map<string, Slot>>()
  readonly #byId = new Map<string, Lease>()
  readonly #byPrincipal = new Map<string, Set<Entry>>()
  readonly #deadlines = new DeadlineHeap<Entry>()

  constructor(limits: LeaseLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#byId.size
  }

  /** Entries of the deadline heap, stale ones included: what the book holds of memory. */
  get heapSize(): number {
    return this.#deadlines.size
  }

  /** The time at which something may be due next, monotonic; Infinity: nothing is. */
  get next(): number {
    return this.#deadlines.next
  }

  get(leaseId: string): Lease | undefined {
    return this.#byId.get(leaseId)
  }

  of(nodeId: string, capability: string): Lease | undefined {
    return this.#slot(nodeId, capability)?.lease
  }

  queued(nodeId: string, capability: string): number {
    return this.#slot(nodeId, capability)?.queue.length ?? 0
  }

  values(): IterableIterator<Lease> {
    return this.#byId.values()
  }

  /**
   * Takes the thing if it is free; waits for it until `waitUntil` (undefined: not at all) if it is not. The holder of
   * a lease that takes it again keeps it, with a later end: an answer that was lost is asked for once more. Call
   * `expire(now)` before.
   */
  take(
    wish: LeaseWish,
    now: MonotonicMs,
    waitUntil: MonotonicMs | undefined,
    alive: () => boolean = () => true,
  ): Taken {
    const slot = this.#slot(wish.nodeId, wish.capability)
    if (
      slot &&
      this.isHeld(slot.lease) &&
      !slot.lease.wish.single &&
      slot.lease.wish.principal === wish.principal
    ) {
      if (wish.single) return { kind: 'shared', lease: slot.lease }
      this.#extend(slot.lease, now + wish.ttlMs)
      return { kind: 'renewed', lease: slot.lease }
    }
    if (slot && (waitUntil === undefined || waitUntil <= now)) return { kind: 'held', lease: slot.lease }
    if ((this.#byPrincipal.get(wish.principal)?.size ?? 0) >= this.#limits.maxPerPrincipal) {
      return { kind: 'too_many' }
    }
    if (!slot) return { kind: 'granted', lease: this.#grant(wish, now, []) }
    if (slot.queue.length >= this.#limits.maxQueued) return { kind: 'queue_full', lease: slot.lease }
    const waiter: Waiter = { wish, alive, deadline: waitUntil as number, scheduledAt: NEVER }
    slot.queue.push(waiter)
    this.#remember(waiter)
    return { kind: 'queued', waiter }
  }

  /** Keeps a lease for `ttlMs` from now on. False when it has ended. Call `expire(now)` before. */
  renew(lease: Lease, ttlMs: number, now: MonotonicMs): boolean {
    if (this.#byId.get(lease.wish.leaseId) !== lease) return false
    this.#extend(lease, now + ttlMs)
    return true
  }

  /** Ends a lease; the next in the queue gets it. Nothing happens when it has ended. */
  end(lease: Lease, why: LeaseEndReason, now: MonotonicMs): LeaseChange[] {
    const { nodeId, capability, leaseId } = lease.wish
    if (this.#byId.get(leaseId) !== lease) return []
    const slot = this.#slot(nodeId, capability)
    this.#forget(lease)
    this.#byId.delete(leaseId)
    const changes: LeaseChange[] = [{ kind: 'ended', lease, why }]
    // An invocation under it still moves the thing: nobody else may before that has ended.
    if (lease.uses > 0) return changes
    this.#dropSlot(nodeId, capability)
    if (slot) this.#passOn(slot.queue, now, changes)
    return changes
  }

  /** Returns whether the lease has not ended. */
  isHeld(lease: Lease): boolean {
    return this.#byId.get(lease.wish.leaseId) === lease
  }

  /** An invocation begins to run under the lease, until `until` at the latest. */
  use(lease: Lease, until: number): void {
    lease.uses++
    lease.usedUntil = Math.max(lease.usedUntil, until)
  }

  /**
   * An invocation under the lease is over. When it was the last and the lease has ended, the next in the queue is
   * served.
   */
  unuse(lease: Lease, now: MonotonicMs): LeaseChange[] {
    lease.uses--
    if (lease.uses > 0 || this.isHeld(lease)) return []
    const { nodeId, capability } = lease.wish
    const slot = this.#slot(nodeId, capability)
    if (slot?.lease !== lease) return []
    this.#dropSlot(nodeId, capability)
    const changes: LeaseChange[] = []
    this.#passOn(slot.queue, now, changes)
    return changes
  }

  /** Takes a waiter out of its queue. */
  leave(waiter: Waiter): void {
    const slot = this.#slot(waiter.wish.nodeId, waiter.wish.capability)
    const index = slot?.queue.indexOf(waiter) ?? -1
    if (index < 0) return
    slot?.queue.splice(index, 1)
    this.#forget(waiter)
  }

  /** Ends what is due. */
  expire(now: MonotonicMs): LeaseChange[] {
    const changes: LeaseChange[] = []
    for (let due = this.#deadlines.takeDue(now); due; due = this.#deadlines.takeDue(now)) {
      if (isLease(due)) {
        changes.push(...this.end(due, 'expired', now))
        continue
      }
      const holder = this.of(due.wish.nodeId, due.wish.capability)
      this.leave(due)
      if (holder) changes.push({ kind: 'gave_up', waiter: due, lease: holder })
    }
    return changes
  }

  /**
   * The principal is no more: its leases end, and it waits for none. A lease of one invocation ends with that: what it
   * moves, it moves on.
   */
  endPrincipal(name: string, now: MonotonicMs): LeaseChange[] {
    const entries = [...(this.#byPrincipal.get(name) ?? [])]
    const going = entries.filter((entry) => !isLease(entry) || !entry.wish.single)
    return this.#endAll(going, 'principal_removed', now)
  }

  endNode(nodeId: string, now: MonotonicMs): LeaseChange[] {
    const slots = [...(this.#slots.get(nodeId)?.values() ?? [])]
    return this.#endAll(
      slots.flatMap((slot) => [...slot.queue, slot.lease]),
      'node_revoked',
      now,
    )
  }

  /** Waiters first, so that no lease passes to one that is going too. */
  #endAll(entries: readonly Entry[], why: LeaseEndReason, now: MonotonicMs): LeaseChange[] {
    const changes: LeaseChange[] = []
    for (const entry of entries) {
      if (isLease(entry)) continue
      this.leave(entry)
      changes.push({ kind: 'dismissed', waiter: entry, why })
    }
    for (const entry of entries) if (isLease(entry)) changes.push(...this.end(entry, why, now))
    return changes
  }

  /** First come, first served; those who have gone are passed over. */
  #passOn(queue: Waiter[], now: MonotonicMs, changes: LeaseChange[]): void {
    for (let waiter = queue.shift(); waiter; waiter = queue.shift()) {
      this.#forget(waiter)
      if (!waiter.alive()) {
        changes.push({ kind: 'gone', waiter })
        continue
      }
      const { wish } = waiter
      const own = (other: Waiter) => !wish.single && other.wish.principal === wish.principal
      const joining = queue.filter(own)
      const others = queue.filter((other) => !own(other))
      const lease = this.#grant(wish, now, others)
      changes.push({ kind: 'granted', lease, waiter })
      for (const other of joining) changes.push(this.#join(other, lease, now))
      return
    }
  }

  /** Its principal holds it now: as if it asked at this moment, for nobody waits for itself. */
  #join(waiter: Waiter, lease: Lease, now: MonotonicMs): LeaseChange {
    this.#forget(waiter)
    if (!waiter.alive()) return { kind: 'gone', waiter }
    if (waiter.wish.single) return { kind: 'shared', lease, waiter }
    this.#extend(lease, now + waiter.wish.ttlMs)
    return { kind: 'renewed', lease, waiter }
  }

  #grant(wish: LeaseWish, now: MonotonicMs, queue: Waiter[]): Lease {
    const lease: Lease = {
      wish,
      deadline: now + wish.ttlMs,
      scheduledAt: NEVER,
      fence: undefined,
      uses: 0,
      usedUntil: 0,
    }
    const ofNode = this.#slots.get(wish.nodeId)
    if (ofNode) ofNode.set(wish.capability, { lease, queue })
    else this.#slots.set(wish.nodeId, new Map([[wish.capability, { lease, queue }]]))
    this.#byId.set(wish.leaseId, lease)
    this.#remember(lease)
    return lease
  }

  #extend(lease: Lease, until: number): void {
    // Never earlier: taking it again with a short time must not cut off what was promised.
    lease.deadline = Math.max(lease.deadline, until)
  }

  #remember(entry: Entry): void {
    const { principal } = entry.wish
    const own = this.#byPrincipal.get(principal)
    if (own) own.add(entry)
    else this.#byPrincipal.set(principal, new Set([entry]))
    this.#deadlines.schedule(entry)
  }

  #forget(entry: Entry): void {
    const { principal } = entry.wish
    const own = this.#byPrincipal.get(principal)
    own?.delete(entry)
    if (own?.size === 0) this.#byPrincipal.delete(principal)
    this.#deadlines.forget(entry)
  }

  #slot(nodeId: string, capability: string): Slot | undefined {
    return this.#slots.get(nodeId)?.get(capability)
  }

  #dropSlot(nodeId: string, capability: string): void {
    const ofNode = this.#slots.get(nodeId)
    ofNode?.delete(capability)
    if (ofNode?.size === 0) this.#slots.delete(nodeId)
  }
}
