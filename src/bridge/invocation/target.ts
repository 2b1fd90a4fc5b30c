import { holdersOf, strictest, unknownCommand } from '../../domain/invocations.ts'
import { stricter } from '../../domain/policy.ts'
import type { Clock } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { TurnTime } from '../../kernel/turn-time.ts'
import type { CommandDescription } from '../../protocol/descriptions.ts'
import { type AuthLevel, isAwake } from '../../protocol/names.ts'
import type { Capability } from '../../protocol/schemas.ts'
import type { Leases } from '../access/leases.ts'
import type { Policies } from '../access/policies.ts'
import type { LiveLimb, Registry } from '../live/registry.ts'
import type { VerbCaller } from '../verb-context.ts'
import type { InvokeTransport } from './mqtt-transport.ts'
import type { InvocationTarget, InvocationWish } from './open-invocation.ts'
import type { OpenInvocations } from './open-invocations.ts'
import { checkParams } from './params-check.ts'

/** Limbs that a selection looks at closely; with more of one kind, the first idle one is as good as any. */
const MAX_LOOKED_AT = 1000
/** The policy is read anew so often when it changes while it is read. */
const MAX_READS = 3
/** The time of a turn of the event loop in which the policy is read for selections. */
const READING_MS = 5
/** Limbs whose policy is read between two looks at the clock. */
const READ_AT_ONCE = 16

interface Parts {
  readonly clock: Clock
  readonly registry: Registry
  readonly policies: Policies
  readonly leases: Leases
  readonly mqtt: InvokeTransport
  readonly http: InvokeTransport
  /** Reaches foreign firmware. */
  readonly adapter: InvokeTransport
  readonly open: Pick<OpenInvocations, 'meantFor' | 'full'>
}

type Asked = Pick<InvocationWish, 'command' | 'capability' | 'params' | 'unchecked'>

/** An invocation that may go on, for now. */
export interface AllowedTarget {
  readonly limb: LiveLimb
  readonly capability: string
  readonly level: AuthLevel
  /**
   * The leases of level `leased`: every capability that has the command and is leased, in the limb's order. The
   * invocation needs the lease of each, or a second name for a command would be a way around who holds the first.
   */
  readonly leases: readonly string[]
  /** The words of the limb, or of an operator, about the command. */
  readonly described: CommandDescription | undefined
  /** Says why it cannot be reached now; undefined: it can. */
  readonly unreachable: Refusal | undefined
}

/** The caller of an invocation that looks for a limb. */
type Caller = Pick<VerbCaller, 'name' | 'charge'>

interface Found {
  readonly best?: InvocationTarget | undefined
  readonly nearest?: Refusal | undefined
  readonly unread: readonly string[]
}

interface Option {
  readonly capability: string
  readonly level: AuthLevel
}

export function offline({ record, reason, status }: LiveLimb): Refusal {
  if (status === 'asleep') {
    return new Refusal('node_offline', `${record.nodeId} is asleep; try again when it is awake`)
  }
  return new Refusal('node_offline', `${record.nodeId} is offline (${reason}); try again when it is back`)
}

/** Returns whether it is awake, or on a visit: a sleepy limb that is connected takes what waits for it at once. */
function isThere({ status, reason, rule, session }: LiveLimb): boolean {
  if (isAwake(status)) return true
  const signedOff = reason === 'reported' || reason === 'deregistered'
  return rule.mode === 'sleepy' && session !== undefined && !signedOff
}

/** Decides whether a principal may and can reach a command of a limb; and which limb, if it asks for any that can. */
export class TargetSelector {
  readonly #parts: Parts
  readonly #clock: Clock
  readonly #time: TurnTime

  constructor(parts: Parts) {
    this.#parts = parts
    this.#clock = parts.clock
    this.#time = new TurnTime(parts.clock, READING_MS)
  }

  transportOf(limb: LiveLimb): InvokeTransport {
    if (limb.record.adapter !== null) return this.#parts.adapter
    return limb.record.invoke === 'http' ? this.#parts.http : this.#parts.mqtt
  }

  /**
   * Checks that it is known, approved, allowed, and asked with sound params, in this order, and looks whether it can be
   * reached. Makes a promise only when the policy has to be read first.
   * @throws Refusal
   */
  check(principal: string, nodeId: string, asked: Asked): AllowedTarget | Promise<AllowedTarget> {
    return this.#checkNow(principal, nodeId, asked) ?? this.#checkLater(principal, nodeId, asked)
  }

  async #checkLater(principal: string, nodeId: string, asked: Asked): Promise<AllowedTarget> {
    for (let tries = 0; tries < MAX_READS; tries++) {
      await this.#read(principal, nodeId, asked)
      // Limb and policy may have changed meanwhile: what holds now is looked at as a whole.
      const allowed = this.#checkNow(principal, nodeId, asked)
      if (allowed) return allowed
    }
    throw new Refusal('too_many_requests', 'the policy changes too fast to decide; try again')
  }

  async #read(principal: string, nodeId: string, asked: Asked): Promise<void> {
    for (const held of this.#holders(nodeId, asked)) {
      await this.#parts.policies.decide(principal, nodeId, held.cap, held)
    }
  }

  /** Checks at once; undefined when a decision of the policy is not in memory. */
  #checkNow(principal: string, nodeId: string, asked: Asked): AllowedTarget | undefined {
    const options: Option[] = []
    for (const held of this.#holders(nodeId, asked)) {
      const decision = this.#parts.policies.decideNow(principal, nodeId, held)
      if (!decision) return undefined
      options.push({ capability: held.cap, level: decision.level })
    }
    return this.#allowed(principal, nodeId, asked, options)
  }

  #holders(nodeId: string, { command, capability }: Asked): Capability[] {
    return holdersOf(this.#parts.registry.require(nodeId).record.capabilities, command, capability)
  }

  #allowed(principal: string, nodeId: string, asked: Asked, options: readonly Option[]): AllowedTarget {
    const limb = this.#parts.registry.require(nodeId)
    const decisive = strictest(options)
    if (!decisive) throw unknownCommand(nodeId, asked.command, asked.capability)
    const { capability, level } = decisive
    if (level === 'denied') {
      throw new Refusal(
        'denied',
        `the policy denies ${capability} of ${nodeId} to ${principal}; policy/explain says which entry does`,
      )
    }
    const described = checkParams(limb.record, asked)
    return {
      limb,
      capability,
      level,
      leases: level === 'leased' ? leasedOf(limb, options) : NONE,
      described,
      unreachable: this.#unreachable(limb, capability),
    }
  }

  /** Returns whether the limb takes an invocation now: it is there, hears, and has room. */
  takesNow(nodeId: string): boolean {
    const limb = this.#parts.registry.get(nodeId)
    if (limb === undefined) return false
    return isThere(limb) && !this.transportOf(limb).unreachable(limb) && !this.#parts.open.full(nodeId)
  }

  #unreachable(limb: LiveLimb, capability: string): Refusal | undefined {
    const { nodeId } = limb.record
    if (!isThere(limb)) return offline(limb)
    if (limb.unavailable.includes(capability)) {
      return new Refusal('capability_unavailable', `${nodeId} reports ${capability} as unavailable for now`)
    }
    return this.transportOf(limb).unreachable(limb)
  }

  /**
   * A limb that has the capability, is reachable and may be used: `free` before `leased` before `gated`, a free
   * lease before a held one, the least busy first. `claim` is called with it in the turn in which it was picked,
   * so that the next selection sees it as busier. @throws Refusal that says why there is none.
   */
  async select<T>(
    caller: Caller,
    capability: string,
    wish: InvocationWish,
    claim: (target: InvocationTarget) => T,
  ): Promise<T> {
    const principal = caller.name
    for (let reads = 0; ; ) {
      const { best, nearest, unread } = this.#look(principal, capability, wish)
      if (unread.length === 0 || reads >= MAX_READS * MAX_LOOKED_AT) {
        if (best) return claim(best)
        throw nearest ?? this.#noneOf(capability, wish)
      }
      reads += await this.#readUntilIdle(caller, unread, wish)
    }
  }

  /** Reads the policy of one after the other until one of them is as good as any. Resolves to how many it has read. */
  async #readUntilIdle(caller: Caller, unread: readonly string[], wish: InvocationWish): Promise<number> {
    const principal = caller.name
    let reads = 0
    // The turn in which the request began is charged for by itself.
    let isLater = false
    while (reads < unread.length) {
      const began = this.#clock.monotonicMs()
      for (const nodeId of unread.slice(reads, reads + READ_AT_ONCE)) {
        // A limb that is revoked meanwhile has nothing to read.
        await this.#read(principal, nodeId, wish).catch(() => undefined)
        reads++
        if (this.#isIdle(principal, nodeId, wish)) return reads
      }
      if (isLater) caller.charge?.(this.#clock.monotonicMs() - began)
      if (this.#time.isLeft) continue
      await this.#time.next()
      isLater = true
    }
    return reads
  }

  /** Returns whether a limb may be used and none is better. */
  #isIdle(principal: string, nodeId: string, wish: InvocationWish): boolean {
    const limb = this.#parts.registry.get(nodeId)
    if (limb === undefined || !this.takesNow(nodeId)) return false
    try {
      const allowed = this.#checkNow(principal, nodeId, wish)
      if (allowed === undefined || allowed.unreachable) return false
      return this.#rank(principal, limb, allowed).every((part) => part === 0)
    } catch {
      return false
    }
  }

  /** `unread`: those about which the policy has to be read first; none when the best of all was found. */
  #look(principal: string, capability: string, wish: InvocationWish): Found {
    let best: { target: InvocationTarget; rank: readonly number[] } | undefined
    let nearest: Refusal | undefined
    const unread: string[] = []
    let looked = 0
    for (const limb of this.#parts.registry.offering(capability)) {
      if (!isAwake(limb.status)) continue
      if (++looked > MAX_LOOKED_AT) break
      const { nodeId } = limb.record
      try {
        const allowed = this.#checkNow(principal, nodeId, wish)
        const full = this.#parts.open.full(nodeId)
        if (full) throw full
        if (!allowed) {
          unread.push(nodeId)
          continue
        }
        if (allowed.unreachable) throw allowed.unreachable
        const rank = this.#rank(principal, limb, allowed)
        const target = { nodeId, capability: allowed.capability }
        if (rank.every((part) => part === 0)) return { best: target, unread: [] }
        if (!best || lower(rank, best.rank)) best = { target, rank }
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        if (!nearest || nearness(error) > nearness(nearest)) nearest = error
      }
    }
    return { best: best?.target, nearest, unread }
  }

  /** Waiting for a limb is of no use when the params would be refused by each that has the command. */
  #noneOf(capability: string, asked: Asked): Refusal {
    let looked = 0
    let refused: unknown
    for (const { record } of this.#parts.registry.offering(capability)) {
      if (++looked > MAX_LOOKED_AT) break
      try {
        if (holdersOf(record.capabilities, asked.command, capability).length === 0) continue
        checkParams(record, asked)
        return noneOnline(capability)
      } catch (error) {
        refused ??= error
      }
    }
    if (refused instanceof Refusal) return refused
    if (looked > 0) return noneOnline(capability)
    return new Refusal('not_found', `no approved limb has ${capability}; see node/list`, 'capability')
  }

  /** The lower the better, part by part. */
  #rank(principal: string, limb: LiveLimb, { level, leases }: AllowedTarget): readonly number[] {
    const { nodeId } = limb.record
    const taken = leases.some((capability) => {
      const holder = this.#parts.leases.of(nodeId, capability)
      if (holder === undefined) return false
      const shared = !holder.wish.single && holder.wish.principal === principal
      return !shared || !this.#parts.leases.isHeld(holder)
    })
    const order = stricter(level, 'leased') ? 3 : taken ? 2 : level === 'leased' ? 1 : 0
    return [order, this.#parts.open.meantFor(nodeId), limb.status === 'online' ? 0 : 1]
  }
}

const NONE: readonly string[] = []

function noneOnline(capability: string): Refusal {
  return new Refusal('node_offline', `no limb that has ${capability} is online; try again later`)
}

/**
 * Returns the leased ones in the limb's order, which is everybody's: two invocations that need the same leases never
 * wait for each other.
 */
function leasedOf(limb: LiveLimb, options: readonly Option[]): readonly string[] {
  const leased = options.filter(({ level }) => level === 'leased').map(({ capability }) => capability)
  if (leased.length < 2) return leased
  return limb.record.capabilities.map(({ cap }) => cap).filter((cap) => leased.includes(cap))
}

function lower(a: readonly number[], b: readonly number[]): boolean {
  for (const [i, part] of a.entries()) {
    const other = b[i] ?? 0
    if (part !== other) return part < other
  }
  return false
}

const NEARER: readonly string[] = [
  'unknown_command',
  'denied',
  'invalid_request',
  'node_offline',
  'capability_unavailable',
  'too_many_requests',
]

/** Ranks the reasons why there is no limb: of several, the one that is the easiest to wait out is reported. */
function nearness(error: Refusal): number {
  return NEARER.indexOf(error.code)
}
