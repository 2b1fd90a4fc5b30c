import type {
  BridgeInfo,
  PendingApproval,
  PendingPairingRequest,
  State,
} from '../../../src/protocol/schemas.ts'
import type { ShownDescription } from '../../../src/protocol/shown-description.ts'
import type { Topics } from '../../../src/protocol/topics.ts'
import { parseJson, textOf } from './connection.ts'
import { Signal } from './signal.ts'

/** What the bridge keeps retained, and the newest events: everything that the pages show live. */

export interface FleetEvent {
  /** Rises: the key of its row. */
  readonly number: number
  readonly kind: string
  readonly at: string
  readonly fields: Readonly<Record<string, unknown>>
}

export interface DataMessage {
  readonly nodeId: string
  readonly path: string
  readonly payload: Uint8Array
}

const MAX_EVENTS = 500
/** After a reconnect, what was not told again is gone when no retained message came for so long. */
const SETTLE_MS = 4000
/** Lists of many rows are sorted and drawn so often at most. */
const LIST_MS = 250

export class Fleet {
  readonly nodes = new Map<string, State>()
  readonly pairing = new Map<string, PendingPairingRequest>()
  readonly approvals = new Map<string, PendingApproval>()
  readonly descriptions = new Map<string, ShownDescription>()
  events: readonly FleetEvent[] = []
  info: BridgeInfo | undefined
  bridgeOnline = true
  readonly nodesChanged = new Signal(LIST_MS)
  readonly pairingChanged = new Signal()
  readonly approvalsChanged = new Signal()
  readonly eventsChanged = new Signal(LIST_MS)
  readonly infoChanged = new Signal()
  readonly descriptionsChanged = new Signal()
  /** Of one limb, for its page. */
  readonly #ofNode = new Map<string, Signal>()
  readonly #dataListeners = new Set<(message: DataMessage) => void>()
  readonly #eventListeners = new Set<(event: FleetEvent) => void>()
  #seen = new Set<string>()
  #count = 0
  #settle: ReturnType<typeof setTimeout> | undefined

  nodeChanged(nodeId: string): Signal {
    let signal = this.#ofNode.get(nodeId)
    if (signal === undefined) {
      signal = new Signal()
      this.#ofNode.set(nodeId, signal)
    }
    return signal
  }

  onData(listener: (message: DataMessage) => void): () => void {
    this.#dataListeners.add(listener)
    return () => this.#dataListeners.delete(listener)
  }

  onEvent(listener: (event: FleetEvent) => void): () => void {
    this.#eventListeners.add(listener)
    return () => this.#eventListeners.delete(listener)
  }

  /** Before the subscriptions of a new session: the retained messages come anew. */
  resync(): void {
    this.unsettle()
    this.#seen = new Set()
  }

  /** Behind the subscriptions, and with each retained message: what is not told again soon has gone meanwhile. */
  settle(): void {
    clearTimeout(this.#settle)
    this.#settle = setTimeout(() => this.#prune(), SETTLE_MS)
  }

  /** The session is lost: what it had not told yet has not gone. */
  unsettle(): void {
    clearTimeout(this.#settle)
    this.#settle = undefined
  }

  #prune(): void {
    this.#settle = undefined
    const drop = (map: Map<string, unknown>, prefix: string, signal: Signal) => {
      for (const key of map.keys()) if (!this.#seen.has(`${prefix}${key}`)) map.delete(key)
      signal.changed()
    }
    drop(this.nodes, 'n', this.nodesChanged)
    drop(this.pairing, 'p', this.pairingChanged)
    drop(this.approvals, 'a', this.approvalsChanged)
  }

  clear(): void {
    this.unsettle()
    for (const map of [this.nodes, this.pairing, this.approvals, this.descriptions]) map.clear()
    this.events = []
    this.info = undefined
  }

  received(topics: Topics, topic: string, payload: Uint8Array, retained: boolean): void {
    if (retained && this.#settle !== undefined) this.settle()
    const address = topics.parse(topic)
    if (address?.kind === 'node' && address.leaf === 'state') this.#state(address.nodeId, payload)
    else if (address?.kind === 'node' && address.leaf === 'description')
      this.#description(address.nodeId, payload)
    else if (address?.kind === 'data') {
      for (const listener of this.#dataListeners) listener({ ...address, payload })
    } else if (address?.kind === 'bridge') this.#bridge(address.path, payload)
  }

  #state(nodeId: string, payload: Uint8Array): void {
    if (payload.length === 0) this.nodes.delete(nodeId)
    else {
      const state = parseJson(payload) as State | undefined
      if (state === undefined) return
      this.nodes.set(nodeId, state)
      this.#seen.add(`n${nodeId}`)
    }
    this.nodesChanged.changed()
    this.#ofNode.get(nodeId)?.changed()
  }

  #description(nodeId: string, payload: Uint8Array): void {
    const description =
      payload.length === 0 ? undefined : (parseJson(payload) as ShownDescription | undefined)
    if (description === undefined) this.descriptions.delete(nodeId)
    else this.descriptions.set(nodeId, description)
    this.descriptionsChanged.changed()
  }

  #bridge(path: string, payload: Uint8Array): void {
    const [kind = '', id = ''] = path.split('/')
    if (kind === 'event') this.#event(id, payload)
    else if (kind === 'pairing') this.#keep(this.pairing, 'p', id, payload, this.pairingChanged)
    else if (kind === 'approval') this.#keep(this.approvals, 'a', id, payload, this.approvalsChanged)
    else if (path === 'info') {
      this.info = parseJson(payload) as BridgeInfo | undefined
      this.infoChanged.changed()
    } else if (path === 'status') {
      this.bridgeOnline = textOf(payload) !== 'offline'
      this.infoChanged.changed()
    }
  }

  #keep<T>(map: Map<string, T>, prefix: string, id: string, payload: Uint8Array, signal: Signal): void {
    const value = payload.length === 0 ? undefined : (parseJson(payload) as T | undefined)
    if (value === undefined) map.delete(id)
    else {
      map.set(id, value)
      this.#seen.add(`${prefix}${id}`)
    }
    signal.changed()
  }

  #event(kind: string, payload: Uint8Array): void {
    const fields = parseJson(payload)
    if (typeof fields !== 'object' || fields === null) return
    const { at } = fields as { at?: unknown }
    const event: FleetEvent = {
      number: ++this.#count,
      kind,
      at: typeof at === 'string' ? at : new Date().toISOString(),
      fields: fields as Record<string, unknown>,
    }
    for (const listener of this.#eventListeners) listener(event)
    this.#pushed.push(event)
    if (this.#pushed.length > MAX_EVENTS * 2) this.#pushed.splice(0, this.#pushed.length - MAX_EVENTS)
    this.events = this.#pushed
    this.eventsChanged.changed()
  }

  readonly #pushed: FleetEvent[] = []
}
