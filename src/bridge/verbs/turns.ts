import { type Clock, type MonotonicMs, plusMs } from '../../kernel/clock.ts'
import { TurnTime } from '../../kernel/turn-time.ts'
import { type Role, roleReaches } from '../../protocol/names.ts'
import type { BridgeSettings } from '../settings.ts'

/**
 * Turns of principals at the event loop. What a request costs is measured in time, not in messages: each principal,
 * with all its sessions, has a budget of milliseconds a second. Requests wait for their turn: the control socket
 * first, then operators, then everybody else, and within these one principal after the other, so that who asks a
 * thousand times keeps nobody from asking once.
 */

/** Names whose turn it is; sessions of one name share it. */
export interface TurnOwner {
  readonly name: string
  readonly role: Role
  /** Came through the control socket: the mode of the file is the protection, and no budget holds. */
  readonly local: boolean
}

type TurnSettings = BridgeSettings['turns']

/** Begins a request. What it does without waiting for disk or network is what its turn costs. */
type Work = () => void

interface Waiting {
  readonly work: Work
  readonly bytes: number
}

interface Share {
  readonly key: string
  readonly rank: Rank
  readonly waiting: Waiting[]
  /** The bytes of the requests that wait. */
  bytes: number
  budgetMs: number
  at: MonotonicMs
}

type Rank = 0 | 1 | 2
const RANKS: readonly Rank[] = [0, 1, 2]

/** Requests of one principal that wait: those of a dashboard that asks for everything at once. */
const MAX_WAITING = 64
/** The bytes of a principal's requests that wait, and of everybody's; of each principal one may wait, however large. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024
const MAX_ALL_WAITING_BYTES = 32 * 1024 * 1024
/** The time of a turn of the event loop that requests may take; sockets, timers and heartbeats come first then. */
const SLICE_MS = 10
/** A budget that was not used is kept for so long. */
const BURST_SECONDS = 2
/** Shares of principals that ask for nothing now; beyond, those that are whole again are forgotten. */
const MAX_IDLE = 1000
/** A session whose request was refused is not read for so long, at most. */
const MAX_HOLD_MS = 2000

export class PrincipalTurns {
  readonly #clock: Clock
  readonly #settings: TurnSettings
  /** Returns whether what was done before is not with those who are told of it yet. */
  readonly #isBehind: () => boolean
  readonly #shares = new Map<string, Share>()
  /** The owners with a request that waits, the next one first. */
  readonly #ready: Record<Rank, Share[]> = { 0: [], 1: [], 2: [] }
  #waitingBytes = 0
  readonly #time: TurnTime
  #draining = false
  #wake: (() => void) | undefined

  /** `isBehind`: more answers would only wait; the control socket does not. */
  constructor(clock: Clock, settings: TurnSettings, isBehind: () => boolean = () => false) {
    this.#clock = clock
    this.#isBehind = isBehind
    this.#time = new TurnTime(clock, SLICE_MS)
    this.#settings = settings
  }

  /**
   * Calls `work` when it is the owner's turn, at once when nobody waits. False when too many of the owner's requests,
   * or too many bytes of them, wait already; then it is never called. `bytes`: of the request that waits with it.
   */
  take(owner: TurnOwner, work: Work, bytes = 0): boolean {
    const share = this.#shareOf(owner)
    if (share.waiting.length > 0 && this.#isFull(share, bytes)) return false
    share.waiting.push({ work, bytes })
    this.#count(share, bytes)
    if (share.waiting.length === 1) this.#ready[share.rank].push(share)
    if (!this.#draining) void this.#drain()
    return true
  }

  #isFull(share: Share, bytes: number): boolean {
    if (share.waiting.length >= MAX_WAITING || share.bytes + bytes > MAX_WAITING_BYTES) return true
    return share.rank !== 0 && this.#waitingBytes + bytes > MAX_ALL_WAITING_BYTES
  }

  #count(share: Share, bytes: number): void {
    share.bytes += bytes
    this.#waitingBytes += bytes
  }

  /** Returns how long a session of the owner is not to be read, after a refusal. */
  holdMs(owner: TurnOwner): number {
    const { budgetMs } = this.#shareOf(owner)
    return Math.min(MAX_HOLD_MS, Math.max(0, (-budgetMs * 1000) / this.#settings.maxWorkMsPerSecond))
  }

  /** Takes from the owner's budget what was found out later: the work on an answer that is ready now. */
  charge(owner: TurnOwner, ms: number): void {
    this.#shareOf(owner).budgetMs -= ms
  }

  stop(): void {
    this.#wake?.()
    this.#wake = undefined
  }

  #shareOf({ name, role, local }: TurnOwner): Share {
    const rank = local ? 0 : roleReaches(role, 'operator') ? 1 : 2
    const key = `${rank} ${name}`
    const now = this.#clock.monotonicMs()
    const share = this.#shares.get(key) ?? this.#newShare(key, rank, now)
    const { maxWorkMsPerSecond: msPerSecond } = this.#settings
    const filled = share.budgetMs + ((now - share.at) * msPerSecond) / 1000
    share.budgetMs = Math.min(msPerSecond * BURST_SECONDS, filled)
    share.at = now
    return share
  }

  #newShare(key: string, rank: Rank, at: MonotonicMs): Share {
    if (this.#shares.size >= MAX_IDLE) this.#forgetIdle(at)
    const budgetMs = this.#settings.maxWorkMsPerSecond * BURST_SECONDS
    const share: Share = { key, rank, waiting: [], bytes: 0, budgetMs, at }
    this.#shares.set(key, share)
    return share
  }

  #forgetIdle(now: MonotonicMs): void {
    for (const [key, { waiting, at }] of this.#shares) {
      // Longer than this and its budget is whole again, unless it owes much: that is forgiven.
      if (waiting.length === 0 && now > plusMs(at, BURST_SECONDS * 1000)) this.#shares.delete(key)
    }
  }

  async #drain(): Promise<void> {
    this.#draining = true
    while (RANKS.some((rank) => this.#ready[rank].some((share) => this.#mayRun(share)))) {
      // Before the first one too: each of a thousand sessions may ask in the same turn.
      if (!this.#time.isLeft) await this.#time.next()
      const share = this.#next()
      if (share !== undefined) await this.#run(share)
    }
    this.#draining = false
    if (RANKS.some((rank) => this.#ready[rank].length > 0)) this.#drainLater()
  }

  /** The principal whose turn it is; undefined when nobody waits who has any budget left. */
  #next(): Share | undefined {
    for (const rank of RANKS) {
      const ready = this.#ready[rank]
      const index = ready.findIndex((share) => this.#mayRun(share))
      if (index < 0) continue
      const [share] = ready.splice(index, 1)
      return share
    }
    return undefined
  }

  /** Returns whether a share has budget left, and its answer would leave; who comes through the control socket needs neither. */
  #mayRun(share: Share): boolean {
    const now = this.#clock.monotonicMs()
    const filled = share.budgetMs + ((now - share.at) * this.#settings.maxWorkMsPerSecond) / 1000
    return share.rank === 0 || (filled > 0 && !this.#isBehind())
  }

  async #run(share: Share): Promise<void> {
    const next = share.waiting.shift()
    if (next === undefined) return
    this.#count(share, -next.bytes)
    // To the end of the line: the others come first.
    if (share.waiting.length > 0) this.#ready[share.rank].push(share)
    const started = this.#clock.monotonicMs()
    next.work()
    // After all microtasks: what the request does without waiting for disk or network is done by then.
    await new Promise<void>((resolve) => process.nextTick(resolve))
    share.budgetMs -= this.#clock.monotonicMs() - started
  }

  /** All who wait have spent their budget, or their answers would wait. */
  #drainLater(): void {
    this.#wake ??= this.#clock.after(SLICE_MS, () => {
      this.#wake = undefined
      if (!this.#draining) void this.#drain()
    })
  }
}
