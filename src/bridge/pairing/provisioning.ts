import { provisionedNode } from '../../domain/pairing.ts'
import type { NodeRecord, PairingRequestRecord } from '../../domain/records.ts'
import { Refusal } from '../../kernel/errors.ts'
import { hashKey, type KeyHash, keyMatches, newKey } from '../../kernel/secrets.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import type { PendingPairingRequests } from '../live/pending.ts'
import type { Tx } from '../ports.ts'
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
  readonly pending: PendingPairingRequests
  readonly presence: PresenceKeeper
  readonly announcer: Announcer
  readonly pairings: Pairings
}

/** Provisioning makes limbs by hand, before they have ever registered. */
export class Provisioning {
  readonly #context: BridgeContext
  readonly #parts: Parts

  constructor(context: BridgeContext, parts: Parts) {
    this.#context = context
    this.#parts = parts
  }

  /** @throws Refusal `conflict` when a limb or a principal has the name. */
  async provision(wish: VerbArgs<'node/provision'>, by: string): Promise<Provisioned> {
    const key = keyFor(wish)
    const made = await this.#context.store.transact((tx) => this.#provisionIn(tx, wish, key, by, ''))
    this.#apply(made)
    this.#context.log.info({ nodeId: wish.nodeId, by }, `${wish.nodeId} is provisioned`)
    return made
  }

  /** Makes all or none. @throws Refusal that names the one it is about. */
  async importAll(nodes: VerbArgs<'node/import'>['nodes'], by: string): Promise<readonly Provisioned[]> {
    refuseTwice(nodes)
    const keyed = nodes.map((wish) => ({ wish, key: keyFor(wish) }))
    const all = await this.#context.store.transact(async (tx) => {
      const made: Provisioned[] = []
      for (const [index, { wish, key }] of keyed.entries()) {
        made.push(await this.#provisionIn(tx, wish, key, by, `nodes[${index}].`))
      }
      return made
    })
    for (const made of all) this.#apply(made)
    this.#context.log.info({ count: all.length, by }, `${all.length} limbs are imported`)
    return all
  }

  async #provisionIn(
    tx: Tx,
    wish: VerbArgs<'node/provision'>,
    made: ProvisionedKey,
    by: string,
    path: string,
  ): Promise<Provisioned> {
    const { nodeId } = wish
    if (await tx.node(nodeId)) {
      throw new Refusal(
        'conflict',
        `${nodeId} is paired already; revoke it first, or rotate its key`,
        `${path}nodeId`,
      )
    }
    if (await tx.principal(nodeId)) {
      throw new Refusal('conflict', `a principal is named ${nodeId}; choose another name`, `${path}nodeId`)
    }
    const now = this.#context.clock.wallMs()
    const { key, apiKey } = made
    const { presence: mode, heartbeatSeconds, timeoutSeconds, area } = wish
    const wanted = { presence: mode, heartbeatSeconds, timeoutSeconds, area }
    const settings = Object.values(wanted).every((each) => each === undefined) ? null : wanted
    const node = provisionedNode({ ...wish, settings }, by, now)
    await tx.putNode(node)
    await tx.putNodeKeys(nodeId, { current: key, next: null, currentUntil: null })
    await tx.audit(audit(this.#context, 'node.provisioned', { actor: by, nodeId, outcome: 'approved' }))
    const claims: PairingRequestRecord[] = []
    let granted: PairingRequestRecord | undefined
    for (const request of await tx.requestsOfNode(nodeId)) {
      if (request.key !== null && wish.apiKey !== undefined && keyMatches(request.key, wish.apiKey)) {
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
    return { node, key, apiKey, claims, granted }
  }

  #apply({ node, key, claims, granted }: Provisioned): void {
    const { announcer, pending, pairings, presence } = this.#parts
    this.#context.counters.count('pairing_decisions', 'provisioned')
    presence.announce(presence.add(node, 'approved'))
    if (granted) {
      pending.delete(granted.requestId)
      announcer.requestGone(granted.requestId)
    }
    for (const claim of claims) pending.put(claim)
    if (claims.length > 0) announcer.requestsOfNode(node.nodeId)
    pairings.promoteHolders(node, key)
    announcer.event('node_provisioned', { nodeId: node.nodeId, by: node.approvedBy })
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
