import { provisionedNode } from '../../domain/pairing.ts'
import type { NodeRecord, PairingRequestRecord } from '../../domain/records.ts'
import type { WallMs } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { hashKey, type KeyHash, keyMatches, newKey } from '../../kernel/secrets.ts'
import { TurnTime } from '../../kernel/turn-time.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import type { PendingPairingRequests } from '../live/pending.ts'
import type { LiveLimb, Registry } from '../live/registry.ts'
import type { NameFacts, Tx } from '../ports.ts'
import type { PresenceKeeper } from '../presence/presence-keeper.ts'
import type { BridgeContext } from '../settings.ts'
import { recordApproved } from './decisions.ts'
import type { Pairings } from './pairings.ts'

export interface Provisioned {
  readonly node: NodeRecord
  readonly key: KeyHash
  /** Shown once, when the bridge made it. */
  readonly apiKey: string | undefined
  /** Claims to the same node, which would now replace its key. */
  readonly claims: readonly PairingRequestRecord[]
  /** The claim of the device itself, which this settles. */
  readonly granted: PairingRequestRecord | undefined
}

interface Parts {
  readonly registry: Registry
  readonly pending: PendingPairingRequests
  readonly presence: PresenceKeeper
  readonly announcer: Announcer
  readonly pairings: Pairings
  /** Returns whether those who wait for an answer are there for a moment only: it waits for no turns then. */
  readonly isHurried: () => boolean
}

/** The time of a turn in which keys are made, and limbs that were made are told of. */
const SLICE_MS = 8

/** Provisioning makes limbs by hand, before they have ever registered. */
export class Provisioning {
  readonly #context: BridgeContext
  readonly #parts: Parts
  readonly #time: TurnTime

  constructor(context: BridgeContext, parts: Parts) {
    this.#context = context
    this.#parts = parts
    this.#time = new TurnTime(context.clock, SLICE_MS)
  }

  /** @throws Refusal `conflict` when a limb or a principal has the name. */
  async provision(wish: VerbArgs<'node/provision'>, by: string): Promise<Provisioned> {
    const [made] = await this.#make([wish], by, () => '')
    this.#context.log.info({ nodeId: wish.nodeId, by }, `${wish.nodeId} is provisioned`)
    return made as Provisioned
  }

  /** Makes all or none. @throws Refusal that names the one it is about. */
  async importAll(nodes: VerbArgs<'node/import'>['nodes'], by: string): Promise<readonly Provisioned[]> {
    refuseTwice(nodes)
    const all = await this.#make(nodes, by, (index) => `nodes[${index}].`)
    this.#context.log.info({ count: all.length, by }, `${all.length} limbs are imported`)
    return all
  }

  /**
   * Stores all in one transaction, which is one turn of the event loop. What need not be in it has turns: hundreds of limbs
   * are told to hundreds of sessions.
   */
  async #make(
    wishes: readonly VerbArgs<'node/provision'>[],
    by: string,
    pathOf: (index: number) => string,
  ): Promise<readonly Provisioned[]> {
    const keyed: Keyed[] = []
    for (const wish of wishes) {
      await this.#turn()
      keyed.push({ wish, key: keyFor(wish) })
    }
    const { rotations } = this.#parts.registry
    const all = await this.#context.store.transact((tx) => this.#storeIn(tx, keyed, by, pathOf))
    // In memory all are there at once, as they are in the store.
    const limbs = all.map((made) => this.#apply(made))
    for (const [i, made] of all.entries()) {
      await this.#turn()
      this.#announce(made, limbs[i] as LiveLimb, rotations)
    }
    return all
  }

  /** Waits for the next turn when there is no time left in this one. */
  async #turn(): Promise<void> {
    if (!this.#parts.isHurried() && !this.#time.isLeft) await this.#time.next()
  }

  async #storeIn(
    tx: Tx,
    keyed: readonly Keyed[],
    by: string,
    pathOf: (index: number) => string,
  ): Promise<readonly Provisioned[]> {
    const facts = await tx.nameFacts(keyed.map(({ wish }) => wish.nodeId))
    for (const [index, { wish }] of keyed.entries()) refuseTaken(facts, wish.nodeId, pathOf(index))
    const now = this.#context.clock.wallMs()
    const made: Provisioned[] = []
    for (const { wish, key } of keyed) {
      const node = nodeOf(wish, by, now)
      await tx.putNode(node)
      await tx.putNodeKeys(node.nodeId, { current: key.key, next: null, currentUntil: null })
      const requests = facts.requests.get(node.nodeId) ?? []
      const settled = await this.#settle(tx, requests, wish.apiKey, by)
      made.push({ node, ...key, ...settled })
    }
    const outcome = 'approved'
    await tx.auditAll(
      keyed.map(({ wish: { nodeId } }) =>
        audit(this.#context, 'node.provisioned', { actor: by, nodeId, outcome }),
      ),
    )
    return made
  }

  /** Decides what becomes of the requests for a name that is a limb's from now on. */
  async #settle(
    tx: Tx,
    requests: readonly PairingRequestRecord[],
    apiKey: string | undefined,
    by: string,
  ): Promise<Pick<Provisioned, 'claims' | 'granted'>> {
    const claims: PairingRequestRecord[] = []
    let granted: PairingRequestRecord | undefined
    for (const request of requests) {
      if (request.key !== null && apiKey !== undefined && keyMatches(request.key, apiKey)) {
        // The very device that waits: it has what it asked for.
        await tx.deleteRequest(request.requestId)
        await recordApproved(this.#context, tx, request, by)
        granted = request
        continue
      }
      // What the operator looked at was a new node; now it would replace a key.
      const claim: PairingRequestRecord = { ...request, kind: 'replace', revision: request.revision + 1 }
      await tx.putRequest(claim)
      claims.push(claim)
    }
    return { claims, granted }
  }

  #apply({ node, claims, granted }: Provisioned): LiveLimb {
    const { pending, presence } = this.#parts
    this.#context.counters.count('pairing_decisions', 'provisioned')
    if (granted) pending.delete(granted.requestId)
    for (const claim of claims) pending.put(claim)
    return presence.add(node, 'approved')
  }

  /**
   * Tells everybody of a limb, and its device, unless it was revoked meanwhile. `rotations`: those before its key was stored;
   * after another one, or another approval, a device that holds this key is let in by the key that holds now.
   */
  #announce({ node, key, claims, granted }: Provisioned, limb: LiveLimb, rotations: number): void {
    const { announcer, pairings, presence, registry } = this.#parts
    if (granted) announcer.requestGone(granted.requestId)
    if (registry.get(node.nodeId) !== limb) return
    announcer.description(limb)
    presence.announce(limb)
    if (claims.length > 0) announcer.requestsOfNode(node.nodeId)
    const isNewest = registry.rotations === rotations && limb.record === node
    if (isNewest) pairings.promoteHolders(node, key)
    else pairings.endHolders(node, key)
    announcer.event('node_provisioned', { nodeId: node.nodeId, by: node.approvedBy })
  }
}

interface Keyed {
  readonly wish: VerbArgs<'node/provision'>
  readonly key: ProvisionedKey
}

function nodeOf(wish: VerbArgs<'node/provision'>, by: string, now: WallMs): NodeRecord {
  const { presence: mode, heartbeatSeconds, timeoutSeconds, area } = wish
  const wanted = { presence: mode, heartbeatSeconds, timeoutSeconds, area }
  const settings = Object.values(wanted).every((each) => each === undefined) ? null : wanted
  return provisionedNode({ ...wish, settings }, by, now)
}

function refuseTaken({ nodes, principals }: NameFacts, nodeId: string, path: string): void {
  if (nodes.has(nodeId)) {
    const message = `${nodeId} is paired already; revoke it first, or rotate its key`
    throw new Refusal('conflict', message, `${path}nodeId`)
  }
  if (principals.has(nodeId)) {
    const message = `a principal is named ${nodeId}; choose another name`
    throw new Refusal('conflict', message, `${path}nodeId`)
  }
}

/** The key of a limb that is made by hand: the given one, or a new one. */
interface ProvisionedKey {
  readonly key: KeyHash
  /** The new one; undefined when it was given. */
  readonly apiKey: string | undefined
}

function keyFor({ apiKey: given }: { readonly apiKey?: string | undefined }): ProvisionedKey {
  const apiKey = given === undefined ? newKey() : undefined
  return { apiKey, key: hashKey(given ?? apiKey ?? '') }
}

/** The second would only be told that the first is paired already, which nobody could find. */
function refuseTwice(nodes: VerbArgs<'node/import'>['nodes']): void {
  const seen = new Map<string, number>()
  for (const [index, { nodeId }] of nodes.entries()) {
    const first = seen.get(nodeId)
    if (first !== undefined) {
      const message = `${nodeId} is twice in this import, in nodes[${first}] and nodes[${index}]; keep one of them`
      throw new Refusal('invalid_request', message, `nodes[${index}].nodeId`)
    }
    seen.set(nodeId, index)
  }
}
