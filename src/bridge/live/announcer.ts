import type { PairingRequestRecord } from '../../domain/records.ts'
import type { PairingWindow } from '../../domain/window.ts'
import { iso, type WallMs } from '../../kernel/clock.ts'
import { TurnTime } from '../../kernel/turn-time.ts'
import { encodeJson, encodeWord, NOTHING } from '../../protocol/encode.ts'
import type { EventFields, EventKind } from '../../protocol/events.ts'
import type { BridgeInfo, PendingApproval } from '../../protocol/schemas.ts'
import type { BridgeContext } from '../settings.ts'
import { shownDescription } from './description.ts'
import type { PendingPairingRequests } from './pending.ts'
import { type LiveLimb, type Registry, stateOf } from './registry.ts'
import { RequestPace } from './request-pace.ts'

/** Many changes in one instant (ten thousand limbs come back) make one new `info`. */
const INFO_DELAY_MS = 200
/** The time of a turn of the event loop in which is told what nobody waits for. */
const TELLING_MS = 5

/**
 * Everything the bridge says to all: retained status, state and bridge topics, and events. Called after the
 * commit, never before; `state`, and a `description` that is due, go before `status`, so that who acts on a status finds them there.
 */
export class Announcer {
  readonly #context: BridgeContext
  readonly #registry: Registry
  readonly #pending: PendingPairingRequests
  readonly startedAt: WallMs
  #bridgeStatus: 'online' | 'offline' = 'offline'
  #window: { window: PairingWindow; until: WallMs } | undefined
  #infoDue: (() => void) | undefined
  /** Publications that are due soon, in their order. A change of the policy may end a thousand leases, for hundreds who watch. */
  readonly #soon: (() => void)[] = []
  readonly #telling: TurnTime
  /** Limbs whose state, and whose description, is due soon. */
  readonly #states = new Set<LiveLimb>()
  readonly #descriptions = new Set<LiveLimb>()
  #isBehind = false
  /** Approvals among them: the later ones go behind. */
  #approvalsSoon = 0
  /** Events among them: all later ones go behind. */
  #eventsSoon = 0
  #stopped = false
  readonly #requestPace: RequestPace
  /** Called when the `state` of a limb was published. Total. */
  onState: (limb: LiveLimb) => void = () => {}
  /** Called with each event, when it is published. Total. */
  onEvent: <K extends EventKind>(kind: K, at: WallMs, fields: EventFields<K>) => void = () => {}

  constructor(context: BridgeContext, registry: Registry, pending: PendingPairingRequests) {
    this.#context = context
    this.#registry = registry
    this.#pending = pending
    this.startedAt = context.clock.wallMs()
    this.#telling = new TurnTime(context.clock, TELLING_MS)
    this.#requestPace = new RequestPace(
      context.clock,
      (id, withEvent) => this.#publishRequest(id, withEvent),
      () => context.publisher.isBehind,
    )
  }

  /** Shows whether what is to be told soon waits for later turns of the event loop: new requests would only add to it. */
  get isBehind(): boolean {
    return this.#isBehind
  }

  get bridgeStatus(): 'online' | 'offline' {
    return this.#bridgeStatus
  }

  setBridgeStatus(status: 'online' | 'offline'): void {
    this.#bridgeStatus = status
    this.#retain(this.#context.topics.bridgeStatus, encodeWord(status))
  }

  /** Status and state of a limb whose status changed. */
  status(limb: LiveLimb): void {
    const { topics } = this.#context
    if (this.#descriptions.has(limb)) this.#publishDescription(limb)
    this.#publishState(limb)
    this.#retain(topics.node(limb.record.nodeId, 'status'), encodeWord(limb.status))
    this.#context.counters.count('status_changes', limb.status)
    this.event('node_status', {
      nodeId: limb.record.nodeId,
      status: limb.status,
      reason: limb.reason,
    })
    this.infoChanged()
  }

  /** The state of a limb as it is now, or a little later when very many change at the same moment: then its newest. */
  state(limb: LiveLimb): void {
    this.#retainOf(limb, this.#states, () => this.#publishState(limb))
  }

  #publishState(limb: LiveLimb): void {
    this.#states.delete(limb)
    limb.statePublishedAt = this.#context.clock.monotonicMs()
    limb.heardSinceState = false
    this.#retain(
      this.#context.topics.node(limb.record.nodeId, 'state'),
      encodeJson(stateOf(limb, this.#context.running.steady)),
    )
    this.onState(limb)
  }

  /** Announces that what the limb can do has changed. */
  description(limb: LiveLimb): void {
    this.#retainOf(limb, this.#descriptions, () => this.#publishDescription(limb))
  }

  #publishDescription(limb: LiveLimb): void {
    this.#descriptions.delete(limb)
    const { record } = limb
    const topic = this.#context.topics.node(record.nodeId, 'description')
    this.#retain(topic, encodeJson(shownDescription(record)))
  }

  /** Publishes now while there is time in this turn of the event loop; `waiting` has the limbs of which it is due soon. */
  #retainOf(limb: LiveLimb, waiting: Set<LiveLimb>, publish: () => void): void {
    if (waiting.has(limb)) return
    if (this.#telling.isInTime) {
      publish()
      return
    }
    waiting.add(limb)
    this.#tellSoon(() => {
      // It was published meanwhile, or the limb is no more.
      if (waiting.delete(limb) && this.#registry.get(limb.record.nodeId) === limb) publish()
    })
  }

  /** A revoked node leaves nothing behind; its retained data is the caller's to clear. */
  nodeGone(nodeId: string): void {
    const { topics } = this.#context
    this.#retain(topics.node(nodeId, 'description'), NOTHING)
    this.#retain(topics.node(nodeId, 'state'), NOTHING)
    this.#retain(topics.node(nodeId, 'status'), NOTHING)
    this.infoChanged()
  }

  /** A request that is new or has changed, and an event about it; also those that now stand beside it. At a pace. */
  requestChanged({ requestId, nodeId }: PairingRequestRecord): void {
    this.#requestPace.changed(requestId, true)
    this.requestsOfNode(nodeId, requestId)
  }

  /** The requests of a node may be in conflict, or not any more. At a pace. */
  requestsOfNode(nodeId: string, but?: string): void {
    for (const { requestId } of this.#pending.ofNode(nodeId))
      if (requestId !== but) this.#requestPace.changed(requestId, false)
    this.infoChanged()
  }

  requestGone(requestId: string): void {
    this.#requestPace.gone(requestId)
    this.#retain(this.#context.topics.pairingRequest(requestId), NOTHING)
    this.infoChanged()
  }

  #publishRequest(requestId: string, withEvent: boolean): number {
    const record = this.#pending.get(requestId)
    if (!record) return 0
    const request = this.#pending.show(record)
    const payload = encodeJson(request)
    this.#retain(this.#context.topics.pairingRequest(requestId), payload)
    if (withEvent) this.event('pairing_requested', { request })
    return payload.length * (withEvent ? 2 : 1)
  }

  /** A gated invocation waits for an operator. */
  approval(shown: PendingApproval): void {
    this.#retainApproval(shown.invocationId, encodeJson(shown))
  }

  approvalGone(invocationId: string): void {
    this.#retainApproval(invocationId, NOTHING)
  }

  /** Publishes it at once, so that an operator who decides sees it before the answer; later when a thousand end at the same moment. */
  #retainApproval(invocationId: string, payload: Uint8Array): void {
    const topic = this.#context.topics.approval(invocationId)
    if (this.#approvalsSoon === 0 && this.#telling.isInTime) {
      this.#retain(topic, payload)
      return
    }
    this.#approvalsSoon++
    this.#tellSoon(() => {
      this.#approvalsSoon--
      this.#retain(topic, payload)
    })
  }

  /** An event that is told at once, or behind those that are due soon: all events keep their order. */
  event<K extends EventKind>(kind: K, fields: EventFields<K>): void {
    if (this.#eventsSoon === 0) this.#publishEvent(kind, this.#context.clock.wallMs(), fields)
    else this.eventSoon(kind, fields)
  }

  /**
   * An event for which nobody has to wait: it is told after the answers of this turn, with the time of now, or in later turns when
   * there are very many.
   */
  eventSoon<K extends EventKind>(kind: K, fields: EventFields<K>): void {
    const at = this.#context.clock.wallMs()
    this.#eventsSoon++
    this.#tellSoon(() => {
      this.#eventsSoon--
      this.#publishEvent(kind, at, fields)
    })
  }

  /** Tells it at once after a stop: there may be no later turn in which anybody hears of it. */
  #tellSoon(publish: () => void): void {
    if (this.#stopped) publish()
    else if (this.#soon.push(publish) === 1) setImmediate(() => this.#publishInTime())
  }

  #publishInTime(): void {
    let told = 0
    for (const publish of this.#soon) {
      if (told > 0 && !this.#telling.isInTime) break
      publish()
      told++
    }
    this.#soon.splice(0, told)
    this.#isBehind = this.#soon.length > 0
    if (this.#isBehind) this.#telling.wait(() => this.#publishInTime())
  }

  #publishSoon(): void {
    for (const publish of this.#soon.splice(0)) publish()
  }

  #publishEvent<K extends EventKind>(kind: K, at: WallMs, fields: EventFields<K>): void {
    const { topics, publisher } = this.#context
    const payload = encodeJson({ kind, at: iso(at), ...fields })
    publisher.publish(topics.event(kind), payload, { qos: 0, retain: false })
    this.onEvent(kind, at, fields)
  }

  setWindow(window: PairingWindow | undefined): void {
    const { clock } = this.#context
    this.#window = window && {
      window,
      until: (clock.wallMs() + window.closesAt - clock.monotonicMs()) as WallMs,
    }
    this.infoChanged()
  }

  info(): BridgeInfo {
    const shown = this.#window
    return {
      version: this.#context.settings.version,
      protocol: 1,
      startedAt: iso(this.startedAt),
      nodes: {
        approved: this.#registry.size,
        online: this.#registry.online,
        pending: this.#pending.size,
      },
      ...(shown === undefined
        ? {}
        : {
            pairingWindow: {
              until: iso(shown.until),
              ...(shown.window.left === undefined ? {} : { max: shown.window.left }),
              ...(shown.window.nodeId === undefined ? {} : { nodeId: shown.window.nodeId }),
            },
          }),
    }
  }

  infoChanged(): void {
    this.#infoDue ??= this.#context.clock.after(INFO_DELAY_MS, () => {
      this.#infoDue = undefined
      this.#retain(this.#context.topics.bridgeInfo, encodeJson(this.info()))
    })
  }

  stop(): void {
    this.#requestPace.stop()
    this.#publishSoon()
    this.#stopped = true
    this.#infoDue?.()
    this.#infoDue = undefined
  }

  #retain(topic: string, payload: Uint8Array): void {
    this.#context.publisher.publish(topic, payload, { qos: 1, retain: true })
  }
}
