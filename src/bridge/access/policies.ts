import { decide, moreSpecific, type PolicyDecision, placesOf } from '../../domain/policy.ts'
import type { PolicyRecord } from '../../domain/records.ts'
import type { AuthLevel } from '../../protocol/names.ts'
import type { Capability } from '../../protocol/schemas.ts'
import type { Store } from '../ports.ts'

/** Decided triples in memory, some 200 bytes each; there are two generations of so many. */
const GENERATION = 50_000

/** Capability to the entry that decides, null when none does. */
type OfNode = Map<string, PolicyRecord | null>
/** Levels by principal, then by node: the two are never joined, so that no name can pose as two. */
type Generation = Map<string, Map<string, OfNode>>

/**
 * Decides which level holds. The entries stay in the store, a million of them too; what was decided is remembered, in
 * two generations: when the young one is full the old one is dropped, so that what is in use stays. Every change of
 * the policy goes through `changed`, after its commit.
 */
export class Policies {
  readonly #store: Store
  readonly #floor: AuthLevel
  #young: Generation = new Map()
  #old: Generation = new Map()
  #size = 0
  /** Rises with every change: what was read before one is not remembered after it. */
  #epoch = 0

  constructor(store: Store, floor: AuthLevel) {
    this.#store = store
    this.#floor = floor
  }

  /** The decision, if the triple is in memory. */
  decideNow(principal: string, nodeId: string, capability: Capability): PolicyDecision | undefined {
    const entry = this.#recall(principal, nodeId, capability.cap)
    return entry === undefined ? undefined : decide(entry, capability, this.#floor)
  }

  /** `held`: the capability as it is approved, undefined when the limb does not have it. */
  async decide(
    principal: string,
    nodeId: string,
    capability: string,
    held: Pick<Capability, 'authLevel'> | undefined,
  ): Promise<PolicyDecision> {
    let entry = this.#recall(principal, nodeId, capability)
    if (entry === undefined) {
      const epoch = this.#epoch
      entry = await this.#read(principal, nodeId, capability)
      if (epoch === this.#epoch) this.#remember(principal, nodeId, capability, entry)
    }
    return decide(entry, held, this.#floor)
  }

  /** One look-up in each place, until one has an entry: most have none, or one for the very limb. */
  #read(principal: string, nodeId: string, capability: string): Promise<PolicyRecord | null> {
    return this.#store.read(async (tx) => {
      for (const place of placesOf(principal, nodeId)) {
        const entry = moreSpecific(await tx.policiesAt(...place, capability))
        if (entry) return entry
      }
      return null
    })
  }

  /** An entry was set or deleted. */
  changed(entry: Pick<PolicyRecord, 'principal' | 'nodeId'>): void {
    this.#epoch++
    if (entry.principal === '*' || entry.nodeId === '*') {
      this.#young = new Map()
      this.#old = new Map()
      this.#size = 0
      return
    }
    this.#young.get(entry.principal)?.delete(entry.nodeId)
    this.#old.get(entry.principal)?.delete(entry.nodeId)
  }

  /** A node or a principal is gone with its entries. */
  gone(name: string): void {
    this.#epoch++
    for (const generation of [this.#young, this.#old]) {
      generation.delete(name)
      for (const ofPrincipal of generation.values()) ofPrincipal.delete(name)
    }
  }

  #recall(principal: string, nodeId: string, capability: string): PolicyRecord | null | undefined {
    const young = this.#young.get(principal)?.get(nodeId)?.get(capability)
    if (young !== undefined) return young
    const old = this.#old.get(principal)?.get(nodeId)?.get(capability)
    if (old !== undefined) this.#remember(principal, nodeId, capability, old)
    return old
  }

  #remember(principal: string, nodeId: string, capability: string, entry: PolicyRecord | null): void {
    if (this.#size >= GENERATION) {
      this.#old = this.#young
      this.#young = new Map()
      this.#size = 0
    }
    const ofPrincipal = this.#young.get(principal) ?? new Map<string, OfNode>()
    const ofNode: OfNode = ofPrincipal.get(nodeId) ?? new Map()
    this.#young.set(principal, ofPrincipal.set(nodeId, ofNode.set(capability, entry)))
    this.#size++
  }
}
