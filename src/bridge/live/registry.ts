import { shownName } from '../../domain/pairing.ts'
import type { Presence } from '../../domain/presence.ts'
import type { NodeRecord } from '../../domain/records.ts'
import { iso, type MonotonicMs } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { SteadyClock } from '../../kernel/steady-clock.ts'
import type { AdapterRecord } from '../../protocol/adapter.ts'
import { isAwake, type NodeStatus } from '../../protocol/names.ts'
import type { Capability, State } from '../../protocol/schemas.ts'

/** An approved limb in memory: a cache of its row, and its presence, which lives nowhere else. */
export interface LiveLimb extends Presence {
  record: NodeRecord
  /** The time at which its `state` was last published. */
  statePublishedAt: MonotonicMs
  /** The address that it was connected from, or asked to be paired from, last; undefined: not since the start. */
  address: string | undefined
  /** `lastHeartbeatAt` is newer than what is stored. */
  unsaved: boolean
  /** The time until which faults of heartbeats are counted but not published. */
  complainAfter: MonotonicMs
  /** The complaint that was published last. */
  complaint: string | undefined
  /** False: no key that `node/rotate-key` made waits for it. True until its keys were looked at. */
  newKeyWaits: boolean
  /** The place among the limbs with its list of capabilities. Owned by the registry. */
  place: number
}

/** The limbs that share one list of capabilities, as all of one model that were loaded do: no limb is in two. */
interface CapabilityGroup {
  readonly capabilities: readonly Capability[]
  readonly limbs: LiveLimb[]
}

/** The approved limbs. Changed only after the commit that made the change last. */
export class Registry {
  readonly #limbs = new Map<string, LiveLimb>()
  readonly #groups = new Map<readonly Capability[], CapabilityGroup>()
  readonly #byCapability = new Map<string, Set<CapabilityGroup>>()
  readonly #byStatus: Record<NodeStatus, number> = { online: 0, busy: 0, degraded: 0, asleep: 0, offline: 0 }
  #sorted: string[] | undefined
  #rotations = 0
  /** Called when the approved capabilities of a limb are other ones. Total. */
  onCapabilities: (limb: LiveLimb) => void = () => {}
  /** Called when what was read of the firmware of a limb is another thing; undefined: the limb is gone. Total. */
  onAdapter: (nodeId: string, limb: LiveLimb | undefined, before: AdapterRecord | undefined) => void =
    () => {}
  /** Called when a limb that was away is there. Total. */
  onAwake: (limb: LiveLimb) => void = () => {}
  /** Called when a limb that was there cannot be reached any more. Total. */
  onOffline: (limb: LiveLimb) => void = () => {}

  get size(): number {
    return this.#limbs.size
  }

  /** Limbs that are not offline. */
  get online(): number {
    return this.#limbs.size - this.#byStatus.offline
  }

  /** The number of limbs of each status; counted as they change, because a scrape must not walk a large fleet. */
  get byStatus(): Readonly<Record<NodeStatus, number>> {
    return this.#byStatus
  }

  get(nodeId: string): LiveLimb | undefined {
    return this.#limbs.get(nodeId)
  }

  /** @throws Refusal `not_found` when there is none. */
  require(nodeId: string): LiveLimb {
    const limb = this.#limbs.get(nodeId)
    if (limb === undefined) throw noSuchLimb(nodeId)
    return limb
  }

  values(): IterableIterator<LiveLimb> {
    return this.#limbs.values()
  }

  add(limb: LiveLimb): void {
    this.#limbs.set(limb.record.nodeId, limb)
    this.#byStatus[limb.status]++
    this.#offer(limb)
    this.#sorted = undefined
    if (limb.record.adapter !== null) this.onAdapter(limb.record.nodeId, limb, undefined)
  }

  /** The row of a limb has changed. */
  replace(limb: LiveLimb, record: NodeRecord): void {
    const before = limb.record
    if (record.capabilities === before.capabilities) {
      limb.record = record
    } else {
      this.#withdraw(limb)
      limb.record = record
      this.#offer(limb)
      this.onCapabilities(limb)
    }
    if (record.adapter !== before.adapter) this.onAdapter(record.nodeId, limb, before.adapter ?? undefined)
  }

  /** Rises with each key that is rotated: what was read of a limb's keys before is not the newest then. */
  get rotations(): number {
    return this.#rotations
  }

  /** `node/rotate-key` made a key that the limb has to be told. */
  rotated(nodeId: string): void {
    this.#rotations++
    const limb = this.#limbs.get(nodeId)
    if (limb) limb.newKeyWaits = true
  }

  /** Its keys were looked at, and no rotated one waited for the limb; `rotations`: those before that look. */
  keysSeen(nodeId: string, rotations: number): void {
    const limb = rotations === this.#rotations ? this.#limbs.get(nodeId) : undefined
    if (limb) limb.newKeyWaits = false
  }

  /** The limbs that have an approved capability, whatever their status. */
  *offering(capability: string): Iterable<LiveLimb> {
    for (const { limbs } of this.#byCapability.get(capability) ?? []) yield* limbs
  }

  #offer(limb: LiveLimb): void {
    const { limbs } = this.#groups.get(limb.record.capabilities) ?? this.#newGroup(limb.record.capabilities)
    limb.place = limbs.length
    limbs.push(limb)
  }

  #newGroup(capabilities: readonly Capability[]): CapabilityGroup {
    const group = { capabilities, limbs: [] }
    this.#groups.set(capabilities, group)
    for (const { cap } of capabilities) {
      const offering = this.#byCapability.get(cap)
      if (offering) offering.add(group)
      else this.#byCapability.set(cap, new Set([group]))
    }
    return group
  }

  /** The last of its group takes its place. */
  #withdraw(limb: LiveLimb): void {
    const group = this.#groups.get(limb.record.capabilities)
    const last = group?.limbs.pop()
    if (group === undefined || last === undefined) return
    if (last !== limb) {
      group.limbs[limb.place] = last
      last.place = limb.place
    }
    if (group.limbs.length === 0) this.#dropGroup(group)
  }

  #dropGroup(group: CapabilityGroup): void {
    this.#groups.delete(group.capabilities)
    for (const { cap } of group.capabilities) {
      const offering = this.#byCapability.get(cap)
      offering?.delete(group)
      if (offering?.size === 0) this.#byCapability.delete(cap)
    }
  }

  delete(nodeId: string): void {
    const limb = this.#limbs.get(nodeId)
    if (!limb) return
    this.#byStatus[limb.status]--
    this.#limbs.delete(nodeId)
    this.#withdraw(limb)
    this.#sorted = undefined
    if (limb.record.adapter !== null) this.onAdapter(nodeId, undefined, limb.record.adapter)
  }

  /** Must be called at each change of a limb's status. */
  statusChanged(limb: LiveLimb, before: NodeStatus): void {
    this.#byStatus[before]--
    this.#byStatus[limb.status]++
    const awake = isAwake(limb.status)
    if (awake === isAwake(before)) return
    if (awake) this.onAwake(limb)
    else this.onOffline(limb)
  }

  /** The limbs in the order of their nodeIds, those after `after`. */
  *limbsAfter(after: string | undefined): Iterable<LiveLimb> {
    for (const nodeId of this.idsAfter(after)) {
      const limb = this.#limbs.get(nodeId)
      if (limb) yield limb
    }
  }

  /** Yields nodeIds in order, those after `after`. They are sorted once per change of membership, not per listing. */
  *idsAfter(after: string | undefined): Iterable<string> {
    this.#sorted ??= [...this.#limbs.keys()].sort()
    const ids = this.#sorted
    for (let i = after === undefined ? 0 : firstAfter(ids, after); i < ids.length; i++) {
      const id = ids[i]
      if (id !== undefined) yield id
    }
  }
}

/** Index of the first entry greater than `key` in a sorted list. */
function firstAfter(sorted: readonly string[], key: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] as string) > key) high = middle
    else low = middle + 1
  }
  return low
}

/** Makes a limb of its row. All is written in one literal, so that an object of a million takes no more than it must. */
export function newLimb(record: NodeRecord, presence: Presence, address: string | undefined): LiveLimb {
  const { status, reason, since, lastHeartbeatAt, heardSinceState, session, timeoutMs, rule } = presence
  const { lost, unavailable, metrics, deadline, scheduledAt } = presence
  return {
    record,
    status,
    reason,
    since,
    lastHeartbeatAt,
    heardSinceState,
    session,
    timeoutMs,
    rule,
    lost,
    unavailable,
    metrics,
    deadline,
    scheduledAt,
    statePublishedAt: Number.NEGATIVE_INFINITY as MonotonicMs,
    address,
    unsaved: false,
    complainAfter: Number.NEGATIVE_INFINITY as MonotonicMs,
    complaint: undefined,
    newKeyWaits: true,
    place: 0,
  }
}

/** The limb as `state` shows it. */
export function stateOf(limb: LiveLimb, steady: SteadyClock): State {
  const { record } = limb
  return {
    nodeId: record.nodeId,
    displayName: shownName(record),
    platform: record.platform,
    ...(record.firmware === null ? {} : { firmware: record.firmware }),
    ...(record.endpointUrl === null ? {} : { endpointUrl: record.endpointUrl }),
    ...(record.adapter?.via === undefined ? {} : { via: record.adapter.via }),
    capabilities: record.capabilities.map((entry) => ({
      ...entry,
      available: isAwake(limb.status) && !limb.unavailable.includes(entry.cap),
    })),
    status: limb.status,
    reason: limb.reason,
    since: iso(steady.wallMs(limb.since)),
    lastHeartbeatAt: limb.lastHeartbeatAt === undefined ? null : iso(steady.wallMs(limb.lastHeartbeatAt)),
    ...(limb.metrics === undefined ? {} : { metrics: { ...limb.metrics } }),
    approvedAt: iso(record.approvedAt),
    approvedBy: record.approvedBy,
  }
}

/** Makes the refusal for a limb that is not approved, or not any more. */
export function noSuchLimb(nodeId: string): Refusal {
  return new Refusal('not_found', `there is no approved limb ${nodeId}; see node/list`, 'nodeId')
}
