import type { NodeRecord, PairingRequestRecord } from '../../domain/records.ts'
import { makeRotatedKey } from '../../kernel/rotated-key.ts'
import type { RunningMs } from '../../kernel/running-clock.ts'
import { certifiedKey, hashKey, newKey } from '../../kernel/secrets.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import type { PendingPairingRequests } from '../live/pending.ts'
import { noSuchLimb, type Registry } from '../live/registry.ts'
import type { SessionTable } from '../live/sessions.ts'
import type { Tx } from '../ports.ts'
import type { PresenceKeeper } from '../presence/presence-keeper.ts'
import type { BridgeContext } from '../settings.ts'
import type { Retries } from '../upkeep/retries.ts'
import { approvedAnswer, type PairingAnswers } from './answers.ts'
import { OLD_KEY_MS, recordWithdrawn } from './decisions.ts'

interface Parts {
  readonly registry: Registry
  readonly pending: PendingPairingRequests
  readonly table: SessionTable
  readonly presence: PresenceKeeper
  readonly announcer: Announcer
  readonly answers: PairingAnswers
  readonly retries: Retries
  /** Ends what still runs or waits for a limb that is no more. */
  readonly gone: (nodeId: string) => void
}

/** A key that `rotateKey` made. */
export interface RotatedLimbKey {
  readonly apiKey: string
  /** True if the key was sent to the limb at once. */
  readonly sent: boolean
}

/** Approved limbs are renamed, get another key, and are revoked. */
export class ApprovedLimbs {
  readonly #context: BridgeContext
  readonly #parts: Parts

  constructor(context: BridgeContext, parts: Parts) {
    this.#context = context
    this.#parts = parts
  }

  async rename(nodeId: string, displayName: string, by: string): Promise<NodeRecord> {
    const { store, clock } = this.#context
    const { registry, presence, announcer } = this.#parts
    const node = await store.transact(async (tx) => {
      const before = await stored(tx, nodeId)
      const next: NodeRecord = { ...before, operatorName: displayName, updatedAt: clock.wallMs() }
      await tx.putNode(next)
      await tx.audit(audit(this.#context, 'node.renamed', { actor: by, nodeId, detail: { displayName } }))
      return next
    })
    const limb = registry.require(nodeId)
    presence.update(limb, node)
    announcer.state(limb)
    announcer.eventSoon('node_renamed', { nodeId, displayName, by })
    return node
  }

  /** Resolves with the end of the refusal of its keys, on the running clock. */
  async revoke(nodeId: string, by: string): Promise<RunningMs> {
    const { store, clock, log } = this.#context
    const { registry, pending, table, presence, announcer, answers, retries, gone } = this.#parts
    const certificate = hashKey(certifiedKey(nodeId))
    const requests = await store.transact(async (tx) => {
      await stored(tx, nodeId)
      const now = clock.wallMs()
      const until = this.#context.running.in(this.#context.settings.pairing.rejectedSeconds * 1000)
      const keys = await tx.nodeKeys(nodeId)
      for (const key of keys ? [keys.current, keys.next, certificate] : [])
        if (key) await tx.putRefusedKey({ nodeId, key, why: 'revoked', at: now, until })
      const claims = await tx.requestsOfNode(nodeId)
      await tx.deleteNode(nodeId)
      await tx.forgetSessions(nodeId)
      // Somebody else's claim to the name outlives the node: it is a new one now.
      const rest: PairingRequestRecord[] = []
      for (const claim of claims) {
        if (claim.kind === 'widen') {
          await recordWithdrawn(this.#context, tx, claim, by)
          continue
        }
        const fresh: PairingRequestRecord = { ...claim, kind: 'new', revision: claim.revision + 1 }
        await tx.putRequest(fresh)
        rest.push(fresh)
      }
      await tx.audit(audit(this.#context, 'node.revoked', { actor: by, nodeId, outcome: 'revoked' }))
      return { until, gone: claims.filter((claim) => claim.kind === 'widen'), rest }
    })
    this.#context.counters.count('pairing_decisions', 'revoked')
    gone(nodeId)
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
    // First, in memory at once: the end of its session would store it anew.
    await retries.run(`forget the sessions of ${nodeId}`, async () => {
      if (!registry.get(nodeId)) await this.#context.sessions.forget(nodeId)
    })
    // A limb of this name may be approved before the disk has room again: its data is not to be taken away.
    await retries.run(`remove the data of ${nodeId}`, async () => {
      if (!registry.get(nodeId)) await this.#context.publisher.clearRetainedOf(nodeId)
    })
    log.info({ nodeId, by }, `${nodeId} is revoked`)
    announcer.event('node_revoked', { nodeId, by })
    return requests.until
  }

  /** The old key still works for a day, unless it ends at once (`immediate`). */
  async rotateKey(nodeId: string, immediate: boolean, by: string): Promise<RotatedLimbKey> {
    const { store, topics, log } = this.#context
    const { registry, pending, table, announcer, answers } = this.#parts
    const master = this.#context.invokeOverHttp?.master
    const made = master && !immediate ? makeRotatedKey(master, nodeId) : undefined
    const apiKey = made?.key ?? newKey()
    const key = made?.hash ?? hashKey(apiKey)
    const listens = () => table.limb(nodeId)?.subscribedTo(topics.node(nodeId, 'pairing')) === true
    const node = await store.transact(async (tx) => {
      const found = await stored(tx, nodeId)
      const keys = await tx.nodeKeys(nodeId)
      // The old key of a limb that is away lives until it was there to be told, if it can be told later.
      const currentUntil = listens() || !made ? this.#context.running.in(OLD_KEY_MS) : null
      await tx.putNodeKeys(
        nodeId,
        immediate || !keys
          ? { current: key, next: null, currentUntil: null }
          : { current: keys.current, next: key, currentUntil },
      )
      await tx.audit(
        audit(this.#context, 'node.key_rotated', {
          actor: by,
          nodeId,
          detail: { immediate },
        }),
      )
      return found
    })
    registry.rotated(nodeId)
    const live = table.limb(nodeId)
    // A key that was stolen may be in the hands of the live session: it is not told the next one.
    if (immediate) table.invalidate(nodeId)
    if (live && immediate) live.end('replaced', false)
    const receiver =
      live && !immediate && live.subscribedTo(topics.node(nodeId, 'pairing')) ? live : undefined
    if (receiver)
      answers.send(receiver, {
        ...approvedAnswer(this.#context.settings, node, pending.wideningOf(nodeId)?.requestId),
        apiKey,
      })
    const sent = receiver !== undefined
    log.info({ nodeId, by, sent }, `${nodeId} has a new key`)
    announcer.event('node_key_rotated', { nodeId, by })
    return { apiKey, sent }
  }
}

async function stored(tx: Tx, nodeId: string): Promise<NodeRecord> {
  const node = await tx.node(nodeId)
  if (!node) throw noSuchLimb(nodeId)
  return node
}
