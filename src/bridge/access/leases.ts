import { type Lease, LeaseBook, type LeaseChange, type LeaseWish, type Waiter } from '../../domain/leases.ts'
import { iso, type MonotonicMs, plusMs } from '../../kernel/clock.ts'
import { DeadlineTimer } from '../../kernel/deadline-timer.ts'
import { messageOf, Refusal } from '../../kernel/errors.ts'
import type { AuditKind } from '../../protocol/audit-kinds.ts'
import type { LeaseEndReason } from '../../protocol/events.ts'
import type { ShownLease } from '../../protocol/schemas.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import type { BridgeContext } from '../settings.ts'

/** A lease that somebody has got. */
export interface HeldLease {
  readonly lease: Lease
  readonly fence: number
  /** Taken for this invocation alone, and to be given back by it. */
  readonly own: boolean
  /** An invocation runs under it now. */
  used: boolean
}

/** A lease that was asked for: at hand soon, or after a wait, because others are before. */
export type Taking = { readonly queued: false; readonly held: Promise<HeldLease> } | QueuedLease

export interface QueuedLease {
  readonly queued: true
  readonly held: Promise<HeldLease>
  /** Waits no longer: `held` rejects with `why`. Nothing happens when its turn has come. */
  leave(why: unknown): void
}

interface Pending {
  readonly resolve: (held: Promise<HeldLease>) => void
  readonly reject: (why: unknown) => void
}

/** The book of leases, its timer, and its rows in the audit log. A restart ends every lease; fences go on rising. */
export class Leases {
  readonly #context: BridgeContext
  readonly #announcer: Announcer
  readonly #book: LeaseBook
  readonly #pending = new Map<Waiter, Pending>()
  /** The commit that recorded a lease and gave it its fence. */
  readonly #stored = new WeakMap<Lease, Promise<number>>()
  readonly #timer: DeadlineTimer
  #stopped: Refusal | undefined

  constructor(context: BridgeContext, announcer: Announcer) {
    this.#context = context
    this.#announcer = announcer
    this.#book = new LeaseBook(context.settings.lease)
    this.#timer = new DeadlineTimer({ clock: context.clock, ring: () => this.#ring() })
  }

  /**
   * `alive` is asked when a wait comes to its turn.
   * @throws Refusal `leased` when another one holds it and `waitMs` is 0, `too_many_requests` at a limit,
   * `internal` when the bridge stops.
   */
  take(wish: LeaseWish, waitMs: number, alive: () => boolean): Taking {
    // From then on no time is up, so that a wait would never end.
    if (this.#stopped) throw this.#stopped
    const now = this.#now()
    const taken = this.#book.take(wish, now, waitMs > 0 ? plusMs(now, waitMs) : undefined, alive)
    this.#timer.set(this.#book.next)
    switch (taken.kind) {
      case 'granted':
        return { queued: false, held: this.#granted(taken.lease) }
      case 'renewed':
        return { queued: false, held: this.#renewed(taken.lease) }
      case 'shared':
        return { queued: false, held: this.#confirmed(taken.lease) }
      case 'held':
        throw this.#leased(taken.lease)
      case 'queue_full':
        throw new Refusal(
          'too_many_requests',
          `${this.#context.settings.lease.maxQueued} wait for ${what(taken.lease)} already; try again later`,
        )
      case 'too_many':
        throw new Refusal(
          'too_many_requests',
          `${wish.principal} has ${this.#context.settings.lease.maxPerPrincipal} leases and places in queues; release some`,
        )
      case 'queued': {
        const { waiter } = taken
        const held = new Promise<HeldLease>((resolve, reject) => {
          this.#pending.set(waiter, { resolve, reject })
        })
        return { queued: true, held, leave: (why) => this.#leave(waiter, why) }
      }
    }
  }

  #leave(waiter: Waiter, why: unknown): void {
    const pending = this.#pending.get(waiter)
    if (!pending) return
    this.#pending.delete(waiter)
    this.#book.leave(waiter)
    pending.reject(why)
  }

  /** Leases that are held; those whose time is up until the next look at them too. */
  get size(): number {
    return this.#book.size
  }

  /** Returns whether the lease is still held. */
  holds({ lease }: HeldLease): boolean {
    this.#now()
    return this.isHeld(lease)
  }

  /**
   * An invocation is about to run: the lease that was taken for it lasts for so long from now on, as the invocation
   * may.
   */
  keep({ lease, own }: HeldLease, ttlMs: number): void {
    if (own) this.#book.renew(lease, ttlMs, this.#now())
  }

  /**
   * An invocation begins to run under a lease that its principal has: the thing is not free before the invocation has
   * ended.
   */
  use(held: HeldLease, maxMs: number): void {
    if (held.own || held.used) return
    held.used = true
    this.#book.use(held.lease, plusMs(this.#now(), maxMs))
  }

  /** An invocation is over: the lease that was taken for it goes to the next. */
  giveBack(held: HeldLease): void {
    const { lease, own } = held
    if (own) this.#apply(this.#book.end(lease, 'released', this.#now()))
    if (!held.used) return
    held.used = false
    this.#apply(this.#book.unuse(lease, this.#now()))
  }

  get(leaseId: string): Lease | undefined {
    this.#now()
    return this.#book.get(leaseId)
  }

  /** Returns the lease of whoever holds it now, or whose invocations still keep it from others. */
  of(nodeId: string, capability: string): Lease | undefined {
    this.#now()
    return this.#book.of(nodeId, capability)
  }

  values(): Iterable<Lease> {
    this.#now()
    return this.#book.values()
  }

  /** Resolves when the new end is in the audit log. False: it has ended already. */
  async renew(lease: Lease, ttlMs: number, by: string): Promise<boolean> {
    const now = this.#now()
    if (!this.#book.renew(lease, ttlMs, now)) return false
    await this.#audit('lease.renewed', lease, by, 'stored')
    return true
  }

  /** Nothing happens when it has ended already. */
  async release(lease: Lease, by: string): Promise<void> {
    const changes = this.#book.end(lease, 'released', this.#now())
    if (changes.length === 0) return
    const stored = this.#audit('lease.released', lease, by, 'released')
    this.#apply(changes)
    await stored
  }

  /** Nothing happens when it has ended already. */
  end(lease: Lease, why: LeaseEndReason): void {
    this.#apply(this.#book.end(lease, why, this.#now()))
  }

  principalGone(name: string): void {
    this.#apply(this.#book.endPrincipal(name, this.#now()))
  }

  nodeGone(nodeId: string): void {
    this.#apply(this.#book.endNode(nodeId, this.#now()))
  }

  stop(): void {
    this.#stopped = new Refusal('internal', 'the bridge is stopping; take the lease again when it is back')
    this.#timer.stop()
    for (const waiter of [...this.#pending.keys()]) this.#leave(waiter, this.#stopped)
  }

  show(lease: Lease): ShownLease {
    const { wish } = lease
    const { clock } = this.#context
    return {
      leaseId: wish.leaseId,
      nodeId: wish.nodeId,
      capability: wish.capability,
      principal: wish.principal,
      fence: lease.fence ?? 0,
      expiresAt: iso(this.#endsAt(lease, clock.wallMs())),
      singleCall: wish.single,
      queued: this.#book.queued(wish.nodeId, wish.capability),
    }
  }

  /** Returns whether it has not ended. */
  isHeld(lease: Lease): boolean {
    return this.#book.isHeld(lease)
  }

  /**
   * Ends what is due first, so that no timer's lateness keeps a lease alive; after a standstill of the process only when
   * its holder could be heard.
   */
  #now(): MonotonicMs {
    const now = this.#context.clock.monotonicMs()
    if (this.#book.next <= now && !this.#timer.inGrace()) this.#apply(this.#book.expire(now))
    return now
  }

  #endsAt(lease: Lease, wall: number): number {
    return Math.round(wall + lease.deadline - this.#context.clock.monotonicMs())
  }

  #apply(changes: readonly LeaseChange[]): void {
    for (const change of changes) {
      if (change.kind === 'ended') this.#ended(change.lease, change.why)
      else this.#answer(change)
    }
    this.#timer.set(this.#book.next)
  }

  #ended(lease: Lease, why: LeaseEndReason): void {
    this.#context.counters.count('leases', why)
    if (lease.wish.single) return
    const { leaseId, nodeId, capability, principal } = lease.wish
    if (why !== 'released' && why !== 'not_stored') void this.#audit('lease.ended', lease, 'bridge', why)
    this.#announcer.eventSoon('lease_ended', { leaseId, nodeId, capability, principal, why })
  }

  #answer(change: Exclude<LeaseChange, { kind: 'ended' }>): void {
    const pending = this.#pending.get(change.waiter)
    this.#pending.delete(change.waiter)
    switch (change.kind) {
      case 'granted':
        pending?.resolve(this.#granted(change.lease))
        return
      case 'shared':
        pending?.resolve(this.#confirmed(change.lease))
        return
      case 'renewed':
        pending?.resolve(this.#renewed(change.lease))
        return
      case 'gone':
        pending?.reject(new Refusal('expired', 'nobody waits for this lease any more'))
        return
      case 'gave_up':
        pending?.reject(this.#leased(change.lease))
        return
      case 'dismissed':
        pending?.reject(
          new Refusal('not_found', `${change.waiter.wish.nodeId} or its user is no more: ${change.why}`),
        )
    }
  }

  /** Records a new lease and gives it its fence, in one transaction. A lease that cannot be recorded is none. */
  #granted(lease: Lease): Promise<HeldLease> {
    const { store, counters } = this.#context
    const { leaseId, nodeId, capability, principal, single } = lease.wish
    counters.count('leases', 'granted')
    const stored = store
      .transact(async (tx) => {
        const fence = await tx.nextFence()
        await tx.audit(
          audit(this.#context, 'lease.granted', {
            actor: principal,
            nodeId,
            outcome: 'granted',
            detail: { leaseId, capability, fence, singleCall: single },
          }),
        )
        return fence
      })
      .then((fence) => {
        lease.fence = fence
        // One that ended meanwhile has been told of as such.
        if (!single && this.isHeld(lease))
          this.#announcer.eventSoon('lease_granted', { lease: this.show(lease) })
        return fence
      })
    stored.catch(() => this.#apply(this.#book.end(lease, 'not_stored', this.#context.clock.monotonicMs())))
    this.#stored.set(lease, stored)
    return this.#confirmed(lease)
  }

  /** The lease once it is on disk, unless it has ended meanwhile. */
  async #confirmed(lease: Lease): Promise<HeldLease> {
    const fence = (await this.#stored.get(lease)) ?? 0
    if (!this.isHeld(lease)) {
      throw new Refusal('expired', `the lease of ${what(lease)} ended at once; take it again`)
    }
    return { lease, fence, own: lease.wish.single, used: false }
  }

  async #renewed(lease: Lease): Promise<HeldLease> {
    const held = await this.#confirmed(lease)
    void this.#audit('lease.renewed', lease, lease.wish.principal, 'stored')
    return held
  }

  #audit(kind: AuditKind, lease: Lease, actor: string, outcome: string): Promise<void> {
    const { store, log } = this.#context
    const { leaseId, nodeId, capability, principal } = lease.wish
    const stored = store.transact((tx) =>
      tx.audit(
        audit(this.#context, kind, {
          actor,
          nodeId,
          outcome,
          detail: { leaseId, capability, principal, fence: lease.fence ?? null },
        }),
      ),
    )
    stored.catch((error: unknown) =>
      log.warn({ kind, leaseId, error: messageOf(error) }, 'a lease is not in the audit log'),
    )
    return stored
  }

  #leased(lease: Lease): Refusal {
    const { nodeId, capability, principal, single } = lease.wish
    const until = iso(this.#busyUntil(lease, this.#context.clock.wallMs()))
    const what = !this.#isOnlyUsed(lease)
      ? `${principal} holds ${capability} of ${nodeId}${single ? ' for an invocation' : ''}`
      : `an invocation of ${principal} still runs on ${capability} of ${nodeId}, though its lease has ended,`
    return new Refusal(
      'leased',
      `${what} until ${until} at the latest; wait for it with waitSeconds`,
      undefined,
      {
        holder: principal,
        until,
      },
    )
  }

  /** Wall time. A lease that has ended keeps the thing as long as its invocations run. */
  #busyUntil(lease: Lease, wall: number): number {
    if (!this.#isOnlyUsed(lease)) return this.#endsAt(lease, wall)
    return Math.round(wall + lease.usedUntil - this.#context.clock.monotonicMs())
  }

  /** Its time is up, and what runs under it still keeps the thing; in the moment of its end nothing may run. */
  #isOnlyUsed(lease: Lease): boolean {
    return !this.isHeld(lease) && lease.usedUntil > this.#context.clock.monotonicMs()
  }

  #ring(): number {
    this.#now()
    return this.#book.next
  }
}

function what(lease: Lease): string {
  return `${lease.wish.capability} of ${lease.wish.nodeId}`
}
