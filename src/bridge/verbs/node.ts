import { provisionedNode, shownName } from '../../domain/pairing.ts'
import type { NodeRecord, PairingRequestRecord } from '../../domain/records.ts'
import { iso } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { makeRotatedKey } from '../../kernel/rotated-key.ts'
import { certifiedKey, hashKey, type KeyHash, keyMatches, newKey } from '../../kernel/secrets.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { isAwake } from '../../protocol/names.ts'
import type { State } from '../../protocol/schemas.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import { audit } from '../audit.ts'
import type { Control } from '../invocation/control.ts'
import type { Announcer } from '../live/announcer.ts'
import { shownDescription } from '../live/description.ts'
import { pageInMemory } from '../live/pages.ts'
import type { PendingPairingRequests } from '../live/pending.ts'
import { type LiveLimb, noSuchLimb, type Registry, stateOf } from '../live/registry.ts'
import type { SessionTable } from '../live/sessions.ts'
import { approvedAnswer, type PairingAnswers } from '../pairing/answers.ts'
import { OLD_KEY_MS } from '../pairing/decisions.ts'
import type { Pairings } from '../pairing/pairings.ts'
import type { Tx } from '../ports.ts'
import type { History } from '../presence/history.ts'
import type { PresenceKeeper } from '../presence/presence-keeper.ts'
import type { BridgeContext } from '../settings.ts'
import type { Attempts } from '../sign-in/attempts.ts'
import type { Retries } from '../upkeep/retries.ts'
import type { VerbHandlersOf } from '../verb-context.ts'
import { whyOf } from './why.ts'

interface Parts {
  readonly registry: Registry
  readonly pending: PendingPairingRequests
  readonly table: SessionTable
  readonly presence: PresenceKeeper
  readonly announcer: Announcer
  readonly answers: PairingAnswers
  readonly pairings: Pairings
  readonly control: Control
  readonly history: History
  readonly attempts: Attempts
  readonly retries: Retries
}

interface Provisioned {
  readonly node: NodeRecord
  readonly key: KeyHash
  /** Told once, when the bridge made it. */
  readonly apiKey: string | undefined
  /** Claims to the same node, which would now replace its key. */
  readonly claims: readonly PairingRequestRecord[]
  /** The claim of the device itself, which this settles. */
  readonly granted: PairingRequestRecord | null
}

/** The handlers of nodes; those about descriptions are in `node-description.ts`. */
type NodeHandlers = Omit<VerbHandlersOf<'node'>, 'node/set' | 'node/describe' | 'node/thing'>

/** The verbs about approved limbs. */
export function nodeHandlers(world: BridgeContext, parts: Parts): NodeHandlers {
  const { registry, pending, table, presence, announcer, answers, pairings, control, retries } = parts
  const { clock, store, topics, log } = world

  async function stored(tx: Tx, nodeId: string): Promise<NodeRecord> {
    const node = await tx.node(nodeId)
    if (!node) throw noSuchLimb(nodeId)
    return node
  }

  async function provisionIn(
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
    const now = clock.wallMs()
    const { key, apiKey } = made
    const { presence: mode, heartbeatSeconds, timeoutSeconds, area } = wish
    const wanted = { presence: mode, heartbeatSeconds, timeoutSeconds, area }
    const settings = Object.values(wanted).every((each) => each === undefined) ? null : wanted
    const node = provisionedNode({ ...wish, settings }, by, now)
    await tx.putNode(node)
    await tx.putNodeKeys(nodeId, { current: key, next: null, currentUntil: null })
    await tx.audit(audit(world, 'node.provisioned', { actor: by, nodeId, outcome: 'approved' }))
    const claims: PairingRequestRecord[] = []
    let granted: PairingRequestRecord | null = null
    for (const request of await tx.requestsOfNode(nodeId)) {
      if (request.key !== null && wish.apiKey !== undefined && keyMatches(request.key, wish.apiKey)) {
        // The very device that waits: it has what it asked for.
        await tx.deleteRequest(request.requestId)
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

  function applyProvisioned({ node, key, claims, granted }: Provisioned): void {
    world.counters.count('pairing_decisions', 'provisioned')
    announcer.status(presence.add(node, 'approved'))
    if (granted) {
      pending.delete(granted.requestId)
      announcer.requestGone(granted.requestId)
    }
    for (const claim of claims) pending.put(claim)
    if (claims.length > 0) announcer.requestsOfNode(node.nodeId)
    pairings.promoteHolders(node, key)
    announcer.event('node_provisioned', { nodeId: node.nodeId, by: node.approvedBy })
  }

  const shown = ({ node, apiKey }: Provisioned) => ({
    nodeId: node.nodeId,
    ...(apiKey === undefined ? {} : { apiKey }),
  })

  return {
    async 'node/list'(args) {
      const { items, next } = pageInMemory({
        source: registry.limbsAfter(args.after ?? null),
        limit: args.limit ?? LIMITS.listDefault,
        keyOf: (limb) => limb.record.nodeId,
        show: (limb): State | undefined => (listed(limb, args) ? stateOf(limb) : undefined),
      })
      return { items: [...items], ...(next === undefined ? {} : { next }) }
    },

    async 'node/get'({ nodeId }) {
      const limb = registry.require(nodeId)
      return { ...stateOf(limb), description: shownDescription(limb.record) }
    },

    'node/why': ({ nodeId }) => whyOf(world, parts, nodeId),

    'node/history': (args) => parts.history.of(args),

    async 'node/rename'({ nodeId, displayName }, caller) {
      const node = await store.transact(async (tx) => {
        const before = await stored(tx, nodeId)
        const next: NodeRecord = { ...before, operatorName: displayName, updatedAt: clock.wallMs() }
        await tx.putNode(next)
        await tx.audit(audit(world, 'node.renamed', { actor: caller.name, nodeId, detail: { displayName } }))
        return next
      })
      const limb = registry.require(nodeId)
      presence.update(limb, node)
      announcer.state(limb)
      announcer.event('node_renamed', { nodeId, displayName, by: caller.name })
      return { nodeId, displayName: shownName(node) }
    },

    async 'node/revoke'({ nodeId }, caller) {
      const certificate = hashKey(certifiedKey(nodeId))
      const requests = await store.transact(async (tx) => {
        await stored(tx, nodeId)
        const now = clock.wallMs()
        const until = world.running.in(world.settings.pairing.rejectedSeconds * 1000)
        const keys = await tx.nodeKeys(nodeId)
        for (const key of keys ? [keys.current, keys.next, certificate] : [])
          if (key) await tx.putRefusedKey({ nodeId, key, why: 'revoked', at: now, until })
        const claims = await tx.requestsOfNode(nodeId)
        await tx.deleteNode(nodeId)
        // Somebody else's claim to the name outlives the node: it is a new one now.
        const rest: PairingRequestRecord[] = []
        for (const claim of claims) {
          if (claim.kind === 'widen') continue
          const fresh: PairingRequestRecord = { ...claim, kind: 'new', revision: claim.revision + 1 }
          await tx.putRequest(fresh)
          rest.push(fresh)
        }
        await tx.audit(audit(world, 'node.revoked', { actor: caller.name, nodeId, outcome: 'revoked' }))
        return { until, gone: claims.filter((claim) => claim.kind === 'widen'), rest }
      })
      world.counters.count('pairing_decisions', 'revoked')
      control.nodeGone(nodeId)
      presence.remove(nodeId)
      for (const request of requests.gone) {
        pending.delete(request.requestId)
        announcer.requestGone(request.requestId)
      }
      for (const request of requests.rest) pending.put(request)
      if (requests.rest.length > 0) announcer.requestsOfNode(nodeId)
      table.invalidate(nodeId)
      const live = table.limb(nodeId)
      if (live) answers.rejected(live)
      announcer.nodeGone(nodeId)
      // A limb of this name may be approved before the disk has room again: its data is not to be taken away.
      await retries.run(`remove the data of ${nodeId}`, async () => {
        if (!registry.get(nodeId)) await world.publisher.clearRetainedOf(nodeId)
      })
      await retries.run(`forget the sessions of ${nodeId}`, async () => {
        if (!registry.get(nodeId)) await world.sessions.forget(nodeId)
      })
      log.info({ nodeId, by: caller.name }, `${nodeId} is revoked`)
      announcer.event('node_revoked', { nodeId, by: caller.name })
      return { nodeId, refusedUntil: iso(world.running.wallMs(requests.until)) }
    },

    async 'node/rotate-key'({ nodeId, immediate }, caller) {
      const master = world.invokeOverHttp?.master
      const made = master && !immediate ? makeRotatedKey(master, nodeId) : undefined
      const apiKey = made?.key ?? newKey()
      const key = made?.hash ?? hashKey(apiKey)
      const listens = () => table.limb(nodeId)?.subscribedTo(topics.node(nodeId, 'pairing')) === true
      const node = await store.transact(async (tx) => {
        const found = await stored(tx, nodeId)
        const keys = await tx.nodeKeys(nodeId)
        // The old key of a limb that is away lives until it was there to be told, if it can be told later.
        const currentUntil = listens() || !made ? world.running.in(OLD_KEY_MS) : null
        await tx.putNodeKeys(
          nodeId,
          immediate || !keys
            ? { current: key, next: null, currentUntil: null }
            : { current: keys.current, next: key, currentUntil },
        )
        await tx.audit(
          audit(world, 'node.key_rotated', {
            actor: caller.name,
            nodeId,
            detail: { immediate: immediate === true },
          }),
        )
        return found
      })
      const live = table.limb(nodeId)
      // A key that was stolen may be in the hands of the live session: it is not told the next one.
      if (immediate) table.invalidate(nodeId)
      if (live && immediate) live.end('replaced', false)
      const toldTo =
        live && !immediate && live.subscribedTo(topics.node(nodeId, 'pairing')) ? live : undefined
      if (toldTo)
        answers.send(toldTo, {
          ...approvedAnswer(world.settings, node, pending.wideningOf(nodeId)?.requestId),
          apiKey,
        })
      const told = toldTo !== undefined
      log.info({ nodeId, by: caller.name, told }, `${nodeId} has a new key`)
      announcer.event('node_key_rotated', { nodeId, by: caller.name })
      return { nodeId, apiKey, toldToLimb: told }
    },

    async 'node/provision'(args, caller) {
      const key = keyFor(args)
      const made = await store.transact((tx) => provisionIn(tx, args, key, caller.name, ''))
      applyProvisioned(made)
      log.info({ nodeId: args.nodeId, by: caller.name }, `${args.nodeId} is provisioned`)
      return shown(made)
    },

    async 'node/import'({ nodes }, caller) {
      refuseTwice(nodes)
      const keys = nodes.map(keyFor)
      const all = await store.transact(async (tx) => {
        const made: Provisioned[] = []
        for (const [index, wish] of nodes.entries()) {
          made.push(await provisionIn(tx, wish, keys[index] ?? keyFor(wish), caller.name, `nodes[${index}].`))
        }
        return made
      })
      for (const made of all) applyProvisioned(made)
      log.info({ count: all.length, by: caller.name }, `${all.length} limbs are imported`)
      return { items: all.map(shown) }
    },
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

function listed(limb: LiveLimb, filter: VerbArgs<'node/list'>): boolean {
  if (filter.status !== undefined && limb.status !== filter.status) return false
  const { capability, available } = filter
  const has = capability === undefined || limb.record.capabilities.some((entry) => entry.cap === capability)
  if (!has) return false
  if (available === undefined) return true
  const ready = isAwake(limb.status) && (capability === undefined || !limb.unavailable.includes(capability))
  return ready === available
}
