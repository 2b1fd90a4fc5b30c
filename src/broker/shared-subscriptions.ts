import type { BrokerPersistence, Qos, RoutedPacket } from './aedes-internals.ts'
import type { Outgoing } from './outbox.ts'
import type { Rights } from './rights.ts'
import { filterOfGroup, groupOf, ShareIndex } from './share-index.ts'

export interface SharedSubscriptionsOptions {
  readonly persistence: Pick<
    BrokerPersistence,
    'shares' | 'sessions' | 'outgoingEnqueueCombi' | 'outgoingUpdate' | 'outgoingClearMessageId'
  >
  readonly rights: Rights
  /** The next number of a message. */
  readonly number: () => number
  readonly isLive: (clientId: string) => boolean
  readonly failed: (error: unknown) => void
}

/** One copy of a message, for one member of a group. */
export interface Share {
  readonly packet: RoutedPacket
  readonly group: string
  /** The member that was chosen; undefined: no member is connected, and the store keeps it for one that is away. */
  readonly member: Member | undefined
  readonly qos: Qos
  /** The stored session that the store keeps it for. */
  readonly keptFor: string | undefined
  readonly retainAsPublished: boolean
}

/** The delivery to one session, as its groups see it. */
export interface SharingSession {
  readonly client: { readonly id: string | null; readonly clean: boolean }
  readonly outbox: { readonly underWay: number; readonly bytes: number }
  takesShared(topic: string): boolean
  asPublished(filter: string): boolean
  /** False: it takes none any more. */
  putShared(packet: RoutedPacket, filter: string, qos: Qos): boolean
}

interface Subscription {
  readonly qos: Qos
}

/** A session as a member of groups. */
interface Member {
  readonly delivery: SharingSession
  /** Copies that it was chosen for and that are on their way to its outbox. */
  coming: number
  /** The time of the last choice, as a number that rises. */
  chosen: number
}

/**
 * Subscriptions that sessions share (MQTT 5, section 4.8.2): of each group the member gets a message that has the
 * least to do. What a member has not acknowledged when it goes, another one gets. Who is connected comes before who
 * is away. Aedes and the store know such a subscription as a topic that nobody publishes.
 */
export class SharedSubscriptions {
  readonly #options: SharedSubscriptionsOptions
  readonly #live = new ShareIndex<Member, Subscription>()
  /** Weak: who has left every group is not told of here when it goes. */
  readonly #members = new WeakMap<SharingSession, Member>()
  #choices = 0

  constructor(options: SharedSubscriptionsOptions) {
    this.#options = options
  }

  join(delivery: SharingSession, filter: string, qos: Qos): void {
    const member = this.#members.get(delivery) ?? { delivery, coming: 0, chosen: 0 }
    this.#members.set(delivery, member)
    this.#live.add(groupOf(delivery.client.id ?? '', filter), member, { qos })
  }

  leave(delivery: SharingSession, filter: string): void {
    const member = this.#members.get(delivery)
    if (member !== undefined) this.#live.remove(groupOf(delivery.client.id ?? '', filter), member)
  }

  /** The connection of a member has ended: others get what it was sent and has not acknowledged. */
  gone(delivery: SharingSession, filters: readonly string[], left: readonly Outgoing[]): void {
    for (const filter of filters) this.leave(delivery, filter)
    this.#members.delete(delivery)
    for (const message of left) this.#passOn(delivery, message)
  }

  /** Chooses a member of each group that a message is for. Undefined: it is for none. */
  sharesOf(packet: RoutedPacket): readonly Share[] | undefined {
    const { shares: stored } = this.#options.persistence
    if (this.#live.size === 0 && stored.size === 0) return undefined
    const groups = new Set([...this.#live.match(packet.topic), ...stored.match(packet.topic)])
    const found: Share[] = []
    for (const group of groups) {
      const share = this.#choose(packet, group)
      if (share !== undefined) found.push(share)
    }
    return found.length > 0 ? found : undefined
  }

  /** Hands a copy to the member that it was chosen for, or, when that one is gone, to another. */
  deliver({ packet, group, member, keptFor, qos }: Share): void {
    if (member === undefined) return
    member.coming--
    if (member.delivery.putShared(packet, filterOfGroup(group), qos) || keptFor !== undefined) return
    const next = this.#choose(packet, group)
    if (next !== undefined) this.#handToNext(next)
  }

  /** Hands a copy to who was chosen in the place of another: what is kept the store must know before it is sent. */
  #handToNext(share: Share): void {
    if (share.keptFor === undefined) {
      this.deliver(share)
      return
    }
    this.keep([share])
      .finally(() => this.deliver(share))
      .catch(this.#options.failed)
  }

  #choose(routed: RoutedPacket, group: string): Share | undefined {
    const member = this.#leastBusy(group, routed.topic)
    // Its own number: who has a subscription of its own beside the group has two copies.
    const packet = { ...routed, brokerCounter: this.#options.number(), share: filterOfGroup(group) }
    if (member === undefined) return this.#chooseAway(packet, group)
    const granted = this.#live.of(group).get(member)?.qos ?? 0
    const qos = Math.min(granted, packet.qos) as Qos
    const { id, clean } = member.delivery.client
    member.coming++
    member.chosen = ++this.#choices
    const keptFor = qos > 0 && !clean && id !== null ? id : undefined
    const retainAsPublished = member.delivery.asPublished(filterOfGroup(group))
    return { packet, group, member, qos, keptFor, retainAsPublished }
  }

  #leastBusy(group: string, topic: string): Member | undefined {
    let best: Member | undefined
    for (const member of this.#live.of(group).keys()) {
      if (!member.delivery.takesShared(topic)) continue
      if (best === undefined || isLessBusy(member, best)) best = member
    }
    return best
  }

  /** Nobody is connected: of the sessions that are away the one gets it that has the least to catch up with. */
  #chooseAway(packet: RoutedPacket, group: string): Share | undefined {
    if (packet.qos === 0) return undefined
    const { persistence, isLive } = this.#options
    let best: { clientId: string; qos: Qos; rap: boolean; queued: number } | undefined
    for (const [clientId, { qos, rap }] of persistence.shares.of(group)) {
      if (qos === 0 || isLive(clientId) || !this.#mayWait(clientId, packet.topic)) continue
      const queued = persistence.shares.queued(clientId)
      if (best === undefined || queued < best.queued) best = { clientId, qos, rap: rap === true, queued }
    }
    if (best === undefined) return undefined
    const qos = Math.min(best.qos, packet.qos) as Qos
    return { packet, group, member: undefined, qos, keptFor: best.clientId, retainAsPublished: best.rap }
  }

  #mayWait(clientId: string, topic: string): boolean {
    const { persistence, rights } = this.#options
    const owner = persistence.sessions.ownerOf(clientId)
    return owner !== undefined && !persistence.sessions.isOver(clientId) && rights.mayWait(owner, topic)
  }

  #passOn(from: SharingSession, { packet, stored, qos }: Outgoing): void {
    const routed = { ...packet, messageId: undefined, dup: false, qos: Math.max(packet.qos, qos) as Qos }
    const share = this.#choose(routed, groupOf(from.client.id ?? '', packet.share ?? ''))
    if (share === undefined) return
    this.#handToNext(share)
    if (stored) void this.#forget(from, packet)
  }

  /** Forgets it in this turn: what was sent is known by its identifier until Aedes lets go of the client. */
  async #forget({ client }: SharingSession, packet: RoutedPacket): Promise<void> {
    const { persistence, failed } = this.#options
    const messageId = packet.messageId ?? UNSENT
    const noted =
      packet.messageId === undefined
        ? persistence.outgoingUpdate(client, { ...packet, messageId })
        : undefined
    noted?.catch(failed)
    await persistence.outgoingClearMessageId(client, { messageId }).catch(failed)
  }

  /** Resolves to whether a stored session keeps one of them. */
  async keep(shares: readonly Share[]): Promise<boolean> {
    const kept = shares.filter(({ keptFor }) => keptFor !== undefined)
    const { persistence } = this.#options
    await Promise.all(
      kept.map(({ packet, qos, keptFor, retainAsPublished }) =>
        persistence.outgoingEnqueueCombi(
          [{ clientId: keptFor ?? '', qos, rap: retainAsPublished } as { clientId: string }],
          packet,
        ),
      ),
    )
    return kept.length > 0
  }
}

/** A number that is no packet identifier of MQTT. */
const UNSENT = 0x1_0000

function isLessBusy(one: Member, other: Member): boolean {
  const load = ({ delivery, coming }: Member) => coming + delivery.outbox.underWay
  const difference = load(one) - load(other)
  if (difference !== 0) return difference < 0
  const bytes = one.delivery.outbox.bytes - other.delivery.outbox.bytes
  return bytes === 0 ? one.chosen < other.chosen : bytes < 0
}
