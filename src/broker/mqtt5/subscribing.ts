import type { Identity } from '../../bridge/ports.ts'
import { sharedFilter } from '../../protocol/filters.ts'
import type { AedesClient, RequestedSubscription } from '../aedes-internals.ts'
import type { LiveFilters } from '../live-filters.ts'
import type { Rights } from '../rights.ts'
import type { Filter5, Subscribe5, Unsubscribe5 } from './frame.ts'
import { varintBytes } from './properties.ts'
import { type Fault5, protocolError, REASON } from './reasons.ts'

/** The number of SUBSCRIBE and UNSUBSCRIBE packets that may wait for their answer. */
const MAX_UNDER_WAY = 100

const UNSHARED = {
  code: REASON.sharedSubscriptionsUnsupported,
  reason: 'only principals share subscriptions; subscribe the filter without $share/…/',
}
const NO_GROUP = {
  code: REASON.invalidFilter,
  reason: 'a shared subscription is $share/<group>/<filter>, and its group has no "+", "#" or "/"',
}

type Denial = { readonly code: number; readonly reason: string }

/** A SUBSCRIBE or UNSUBSCRIBE that Aedes has not answered yet. */
interface UnderWay {
  readonly filters: readonly string[]
  /** UNSUBSCRIBE: which of them there were. */
  readonly codes?: readonly number[]
  readonly denials: Map<string, Denial>
}

/**
 * Adds to subscriptions what MQTT 5 has beyond MQTT 3.1.1. Aedes gets filters and QoS; the options go around it, and
 * its answer, which has a filter that stands twice once, becomes one with a code for each.
 */
export class Subscribing {
  readonly #filters: LiveFilters
  readonly #client: AedesClient<unknown>
  readonly #rights: Rights
  readonly #underWay = new Map<number, UnderWay>()
  /** The SUBSCRIBE that Aedes is being handed; it asks for each filter in the same turn. */
  #current: { options: Map<string, Filter5>; identifier: number | undefined; underWay: UnderWay } | undefined
  /** Says by filter whether what is retained is to be sent, from SUBSCRIBE to SUBACK. */
  readonly #retained = new Map<string, boolean>()

  constructor(rights: Rights, filters: LiveFilters, client: AedesClient<unknown>) {
    this.#rights = rights
    this.#filters = filters
    this.#client = client
  }

  /** The packet for Aedes, to be handed on in this turn. */
  subscribe({ id, identifier, filters }: Subscribe5): Buffer | Fault5 {
    const fault = this.#faultOf(id)
    if (fault !== undefined) return fault
    const underWay: UnderWay = { filters: filters.map(({ filter }) => filter), denials: new Map() }
    this.#underWay.set(id, underWay)
    // Of a filter that stands twice the last one counts, as Aedes has it.
    this.#current = { options: new Map(filters.map((each) => [each.filter, each])), identifier, underWay }
    return packet(
      0x82,
      id,
      filters.map(({ filter, qos }) => [filter, qos]),
    )
  }

  unsubscribe({ id, filters }: Unsubscribe5): Buffer | Fault5 {
    const fault = this.#faultOf(id)
    if (fault !== undefined) return fault
    const { subscriptions } = this.#client
    const codes = filters.map((filter) => (filter in subscriptions ? 0 : REASON.noSubscriptionExisted))
    this.#underWay.set(id, { filters, codes, denials: new Map() })
    return packet(
      0xa2,
      id,
      filters.map((filter) => [filter, undefined]),
    )
  }

  #faultOf(id: number): Fault5 | undefined {
    if (this.#underWay.has(id)) return protocolError('a packet identifier that is in use')
    if (this.#underWay.size < MAX_UNDER_WAY) return undefined
    return { code: REASON.quotaExceeded, text: 'too many SUBSCRIBE and UNSUBSCRIBE under way' }
  }

  /** Aedes asks whether this filter may be subscribed: what is granted is subscribed with its options. */
  granted(subscription: RequestedSubscription): RequestedSubscription {
    const { topic } = subscription
    const asked = this.#current?.options.get(topic)
    if (asked === undefined) return subscription
    const { noLocal, retainAsPublished, retainHandling } = asked
    const identifier = this.#current?.identifier
    const isNew = !(topic in this.#client.subscriptions)
    // A group gets nothing that is retained.
    const isShared = sharedFilter(topic) !== undefined
    this.#retained.set(topic, !isShared && (retainHandling === 0 || (retainHandling === 1 && isNew)))
    this.#filters.setOptions(topic, { noLocal, retainAsPublished, identifier })
    return subscription
  }

  /** Adds the options for the store: Aedes hands in all filters of a SUBSCRIBE with the first of them. */
  addOptions(subscription: RequestedSubscription): void {
    const asked = this.#current?.options.get(subscription.topic)
    if (asked === undefined) return
    const { noLocal, retainAsPublished } = asked
    const identifier = this.#current?.identifier
    Object.assign(subscription, {
      ...(noLocal ? { nl: true } : undefined),
      ...(retainAsPublished ? { rap: true } : undefined),
      ...(identifier === undefined ? undefined : { subscriptionIdentifier: identifier }),
    })
  }

  denied(topic: string, identity: Identity, quota: boolean): void {
    this.#current?.underWay.denials.set(topic, this.#denialOf(topic, identity, quota))
  }

  #denialOf(topic: string, identity: Identity, quota: boolean): Denial {
    const shared = sharedFilter(topic)
    if (shared !== undefined && identity.kind !== 'principal') return UNSHARED
    if (shared === '') return NO_GROUP
    return quota
      ? { code: REASON.quotaExceeded, reason: 'the session has as many subscriptions as it may have' }
      : { code: REASON.notAuthorized, reason: this.#rights.whyNotSubscribe(identity) }
  }

  /** Takes over what was stored with a session that returns. */
  restored(subscriptions: readonly RequestedSubscription[]): void {
    for (const { topic, nl, rap, subscriptionIdentifier } of subscriptions) {
      this.#filters.setOptions(topic, {
        noLocal: nl === true,
        retainAsPublished: rap === true,
        identifier: subscriptionIdentifier,
      })
    }
  }

  /** Returns whether what is retained is to be sent for a filter that was granted just now. */
  wantsRetained(filter: string): boolean {
    const wanted = this.#retained.get(filter) ?? true
    this.#retained.delete(filter)
    return wanted
  }

  /** Makes the answer of a SUBACK (0x90) or UNSUBACK: a code for each filter as the client wrote them. */
  answer(first: number, id: number, granted: Buffer): { codes: number[]; reason: string | undefined } {
    const underWay = this.#underWay.get(id)
    this.#underWay.delete(id)
    if (underWay === undefined) return { codes: [...granted], reason: undefined }
    if (first === 0xb0) return { codes: [...(underWay.codes ?? [])], reason: undefined }
    const different = [...new Set(underWay.filters)]
    const byFilter = new Map(different.map((filter, i) => [filter, granted[i] as number]))
    const codes = underWay.filters.map((filter) => {
      const code = byFilter.get(filter) ?? REASON.notAuthorized
      return code < 0x80 ? code : (underWay.denials.get(filter)?.code ?? code)
    })
    const [denial] = underWay.denials.values()
    return { codes, reason: denial?.reason }
  }
}

function packet(
  first: number,
  id: number,
  filters: readonly (readonly [string, number | undefined])[],
): Buffer {
  const parts = filters.flatMap(([filter, qos]) => {
    const bytes = Buffer.from(filter)
    const head = Buffer.from([bytes.length >> 8, bytes.length & 0xff])
    return qos === undefined ? [head, bytes] : [head, bytes, Buffer.from([qos])]
  })
  const length = parts.reduce((sum, part) => sum + part.length, 2)
  const head = Buffer.from([first, ...varintBytes(length), id >> 8, id & 0xff])
  return Buffer.concat([head, ...parts])
}
