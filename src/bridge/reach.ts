import { holdersOf, strictest, unknownCommand } from '../domain/invocations.ts'
import { stricter } from '../domain/policy.ts'
import { Refusal } from '../kernel/errors.ts'
import type { AuthLevel } from '../protocol/names.ts'
import type { CallWish, Target } from './call.ts'
import type { InvokeTransport } from './invoke-transport.ts'
import type { LeaseKeeper } from './lease-keeper.ts'
import type { PolicyBook } from './policy-book.ts'
import type { Limb, Registry } from './registry.ts'

/** Limbs that a selection looks at closely; with more of one kind, the first idle one is as good as any. */
const MAX_LOOKED_AT = 1000

interface Parts {
  readonly registry: Registry
  readonly policies: PolicyBook
  readonly leases: LeaseKeeper
  readonly mqtt: InvokeTransport
  readonly http: InvokeTransport
  /** Calls that a limb works on now. */
  readonly running: (nodeId: string) => number
}

/** A call that may go on, for now. */
export interface Allowed {
  readonly limb: Limb
  readonly capability: string
  readonly level: AuthLevel
}

/** Whether a principal may and can reach a command of a limb; and which limb, if it asks for any that can. */
export class Reach {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  transportOf(limb: Limb): InvokeTransport {
    return limb.record.invoke === 'http' ? this.#parts.http : this.#parts.mqtt
  }

  /** Known, approved, allowed, reachable, in this order. @throws Refusal */
  async check(
    principal: string,
    nodeId: string,
    wish: Pick<CallWish, 'command' | 'capability'>,
  ): Promise<Allowed> {
    const limb = this.#parts.registry.get(nodeId)
    if (!limb) throw new Refusal('not_found', `there is no approved limb ${nodeId}; see node/list`, 'nodeId')
    const { capability, level } = await this.#level(principal, limb, wish)
    if (level === 'denied') {
      throw new Refusal(
        'denied',
        `the policy denies ${capability} of ${nodeId} to ${principal}; policy/explain says which entry does`,
      )
    }
    const unreachable = this.#unreachable(limb, capability)
    if (unreachable) throw unreachable
    return { limb, capability, level }
  }

  async #level(principal: string, limb: Limb, wish: Pick<CallWish, 'command' | 'capability'>) {
    const { policies } = this.#parts
    const { nodeId, capabilities } = limb.record
    const options: { capability: string; level: AuthLevel }[] = []
    for (const held of holdersOf(capabilities, wish.command, wish.capability)) {
      const decision =
        policies.decideNow(principal, nodeId, held) ??
        (await policies.decide(principal, nodeId, held.cap, held))
      options.push({ capability: held.cap, level: decision.level })
    }
    const decisive = strictest(options)
    if (!decisive) throw unknownCommand(nodeId, wish.command, wish.capability)
    return decisive
  }

  #unreachable(limb: Limb, capability: string): Refusal | null {
    const { nodeId } = limb.record
    if (limb.status === 'offline') {
      return new Refusal('node_offline', `${nodeId} is offline (${limb.reason}); try again when it is back`)
    }
    if (limb.unavailable.includes(capability)) {
      return new Refusal('capability_unavailable', `${nodeId} reports ${capability} as unavailable for now`)
    }
    return this.transportOf(limb).unreachable(limb)
  }

  /**
   * A limb that has the capability, is reachable and may be used: `free` before `leased` before `gated`, a free
   * lease before a held one, the least busy first. @throws Refusal that says why there is none.
   */
  async select(principal: string, capability: string, wish: CallWish): Promise<Target> {
    let best: { target: Target; rank: readonly number[] } | undefined
    let nearest: Refusal | undefined
    let looked = 0
    for (const limb of this.#parts.registry.offering(capability)) {
      if (limb.status === 'offline') {
        // No Refusal for each of a hundred thousand: an Error with its stack takes microseconds.
        nearest ??= new Refusal('node_offline', `no limb that has ${capability} is online; try again later`)
        continue
      }
      if (++looked > MAX_LOOKED_AT) break
      try {
        const allowed = await this.check(principal, limb.record.nodeId, wish)
        const target = { nodeId: limb.record.nodeId, capability: allowed.capability }
        const rank = this.#rank(principal, limb, allowed)
        if (!best || lower(rank, best.rank)) best = { target, rank }
        if (rank.every((part) => part === 0)) break
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        if (!nearest || nearness(error) > nearness(nearest)) nearest = error
      }
    }
    if (best) return best.target
    throw (
      nearest ?? new Refusal('not_found', `no approved limb has ${capability}; see node/list`, 'capability')
    )
  }

  /** The lower the better, part by part. */
  #rank(principal: string, limb: Limb, { capability, level }: Allowed): readonly number[] {
    const { nodeId } = limb.record
    const holder = level === 'leased' ? this.#parts.leases.of(nodeId, capability) : undefined
    const taken = holder !== undefined && (holder.wish.single || holder.wish.principal !== principal)
    const order = stricter(level, 'leased') ? 3 : taken ? 2 : level === 'leased' ? 1 : 0
    return [order, this.#parts.running(nodeId), limb.status === 'online' ? 0 : 1]
  }
}

function lower(a: readonly number[], b: readonly number[]): boolean {
  for (const [i, part] of a.entries()) {
    const other = b[i] ?? 0
    if (part !== other) return part < other
  }
  return false
}

/** Of several reasons why there is no limb, the one that is the easiest to wait out is told. */
function nearness(error: Refusal): number {
  return ['unknown_command', 'denied', 'node_offline', 'capability_unavailable'].indexOf(error.code)
}
