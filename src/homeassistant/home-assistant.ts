import type { LiveLimb, Registry } from '../bridge/live/registry.ts'
import type { PublishedMessage, RetainedMessage, RetainedView } from '../bridge/ports.ts'
import type { NodeRecord } from '../domain/records.ts'
import type { Clock } from '../kernel/clock.ts'
import { encodeJson, NOTHING } from '../protocol/encode.ts'
import { LIMITS } from '../protocol/limits.ts'
import { filterMatches, type Topics } from '../protocol/topics.ts'
import type { Platform } from './components.ts'
import { DeviceIds } from './ids.ts'
import {
  bridgeDiscovery,
  comesAndGoes,
  type Discovery,
  limbDiscovery,
  ORIGIN,
  type Place,
} from './payloads.ts'

/**
 * Keeps Home Assistant informed of which limbs there are. Discovery messages are retained, but stored nowhere:
 * they are made from the registry when somebody subscribes, as `state` is, so that a restart leaves nothing
 * stale. What changes is published after a moment's rest.
 */

export interface HomeAssistantOptions {
  readonly settings: { readonly prefix: string; readonly principal: string; readonly pairingSeconds: number }
  /** The settings of the bridge; a reload changes them in place. */
  readonly presence: { readonly stateRefreshSeconds: number }
  readonly version: string
  /** The topics of the embedded broker. */
  readonly topics: Topics
  readonly registry: Pick<Registry, 'get' | 'values'>
  readonly clock: Clock
}

/** One broker that Home Assistant is connected to. */
export interface DiscoveryBroker {
  /** The topics as they are there. */
  readonly topics: Topics
  /** Shows whether requests of the principal are taken there. */
  readonly commands: boolean
  publish(topic: string, payload: Uint8Array, retain: boolean): void
}

export interface OpenDiscovery {
  readonly view: RetainedView
  /** All discovery topics, others' too. */
  readonly filter: string
  /** The topic on which Home Assistant says that it has started. */
  readonly birthTopic: string
  birth(payload: Uint8Array): void
  /** Returns whether a discovery message was written by a bridge with these topics. */
  wrote(topic: string, payload: Uint8Array): boolean
}

/** A limb that comes up registers, sends its first metrics, is renamed: one message for all of that. */
const DEBOUNCE_MS = 1000
/** Discovery messages in one go, and the pause before the next; a fleet is not published in one go. */
const BATCH = 200
const PAUSE_MS = 50

/** The topics that are published anew when a limb has changed. */
const LEAVES = ['/state', '/description']

interface Known {
  record: NodeRecord
  /** Every metric it ever sent since the start, so that sensors do not come and go. */
  readonly metrics: Set<string>
}

/** The platform of each component that comes and goes; Home Assistant needs it to take one back. */
type Changing = Readonly<Record<string, Platform>>

interface Opened {
  readonly broker: DiscoveryBroker
  readonly place: Place
  /** The components of each limb that come and go and were published, to take back those that are no more. */
  readonly published: Map<string, Changing>
  /** Telling all again, after Home Assistant has started. */
  resending: boolean
}

export class HomeAssistant {
  readonly #options: HomeAssistantOptions
  readonly #known = new Map<string, Known>()
  readonly #due = new Set<string>()
  readonly #brokers: Opened[] = []
  #cancelDue: (() => void) | undefined
  #stopped = false

  constructor(options: HomeAssistantOptions) {
    this.#options = options
  }

  /** The principal that Home Assistant signs in as. */
  get principal(): string {
    return this.#options.settings.principal
  }

  open(broker: DiscoveryBroker): OpenDiscovery {
    const { settings, version, presence } = this.#options
    const ids = new DeviceIds(settings.prefix, broker.topics)
    const principal = broker.commands ? settings.principal : undefined
    const { pairingSeconds } = settings
    const place: Place = { topics: broker.topics, ids, principal, pairingSeconds, version, presence }
    const opened: Opened = { broker, place, published: new Map(), resending: false }
    this.#brokers.push(opened)
    return {
      view: this.#viewOf(opened),
      filter: ids.topic('+'),
      birthTopic: `${settings.prefix}/status`,
      birth: (payload) => {
        if (new TextDecoder().decode(payload) === 'online') this.#resend(opened)
      },
      wrote: (topic, payload) => ids.deviceOf(topic) !== undefined && originOf(payload) === ORIGIN,
    }
  }

  /** Every message of the embedded broker: `state` and `description` say what has changed. Quick for all others. */
  heard({ topic, payload }: PublishedMessage): void {
    const { topics, registry } = this.#options
    if (this.#stopped || this.#brokers.length === 0) return
    if (!topic.startsWith(topics.prefix) || !LEAVES.some((leaf) => topic.endsWith(leaf))) return
    const address = topics.parse(topic)
    if (address?.kind !== 'node' || !LEAVES.includes(`/${address.leaf}`)) return
    const limb = registry.get(address.nodeId)
    if (payload.length > 0 && limb !== undefined) {
      if (this.#changed(limb)) this.#soon(address.nodeId)
    } else if (address.leaf === 'state') this.#gone(address.nodeId)
  }

  stop(): void {
    this.#stopped = true
    this.#cancelDue?.()
  }

  #changed({ record, metrics }: LiveLimb): boolean {
    const known = this.#known.get(record.nodeId)
    if (known === undefined || known.record !== record) return true
    if (known.metrics.size >= LIMITS.metrics) return false
    for (const name in metrics) if (!known.metrics.has(name)) return true
    return false
  }

  #soon(nodeId: string): void {
    this.#due.add(nodeId)
    this.#cancelDue ??= this.#options.clock.after(DEBOUNCE_MS, () => this.#publishDue())
  }

  #publishDue(): void {
    this.#cancelDue = undefined
    let published = 0
    for (const nodeId of this.#due) {
      if (++published > BATCH) {
        this.#cancelDue = this.#options.clock.after(PAUSE_MS, () => this.#publishDue())
        return
      }
      this.#due.delete(nodeId)
      const limb = this.#options.registry.get(nodeId)
      if (limb !== undefined) this.#publish(limb)
    }
  }

  #publish(limb: LiveLimb): void {
    this.#learn(limb)
    for (const opened of this.#brokers) {
      const { broker, published } = opened
      const before = published.get(limb.record.nodeId) ?? {}
      const { topic, discovery, changing } = this.#discovery(opened, limb)
      published.set(limb.record.nodeId, changing)
      const without = takenBack(discovery, before)
      // Home Assistant removes a component that comes with nothing but its platform, and keeps one that is left out.
      if (without !== undefined) broker.publish(topic, encodeJson(without), false)
      broker.publish(topic, encodeJson(discovery), true)
    }
  }

  #learn({ record, metrics }: LiveLimb): void {
    const known = this.#known.get(record.nodeId) ?? { record, metrics: new Set<string>() }
    known.record = record
    for (const name in metrics) if (known.metrics.size < LIMITS.metrics) known.metrics.add(name)
    this.#known.set(record.nodeId, known)
  }

  #gone(nodeId: string): void {
    this.#known.delete(nodeId)
    this.#due.delete(nodeId)
    for (const { broker, place, published } of this.#brokers) {
      published.delete(nodeId)
      broker.publish(place.ids.topic(place.ids.limb(nodeId)), NOTHING, true)
    }
  }

  /**
   * Sends everything again, once at a time: Home Assistant says it once, and whoever says it over and over waits for
   * the end of the first.
   */
  #resend(opened: Opened): void {
    if (opened.resending || this.#stopped) return
    opened.resending = true
    const messages = this.#all(opened)[Symbol.iterator]()
    const some = () => {
      if (this.#stopped) return
      for (let i = 0; i < BATCH; i++) {
        const next = messages.next()
        if (next.done) {
          opened.resending = false
          return
        }
        opened.broker.publish(next.value.topic, next.value.payload, true)
      }
      this.#options.clock.after(PAUSE_MS, some)
    }
    // Home Assistant asks for a moment between its birth and what follows.
    this.#options.clock.after(DEBOUNCE_MS, some)
  }

  #viewOf(opened: Opened): RetainedView {
    const { place } = opened
    const { registry } = this.#options
    const { ids } = place
    const shape = ids.topic('+')
    const self = this
    return {
      owns: (topic) => ids.deviceOf(topic) !== undefined,
      *match(filter) {
        if (!mayMeet(filter, shape)) return
        const device = ids.deviceOf(filter)
        if (device === undefined || /[+#]/.test(filter)) {
          for (const message of self.#all(opened)) if (filterMatches(filter, message.topic)) yield message
        } else if (device === ids.bridge) {
          yield bridgeMessage(place)
        } else {
          const limb = registry.get(ids.nodeIdOf(device))
          if (limb !== undefined) yield self.#message(opened, limb)
        }
      },
    }
  }

  /** The bridge first: limbs refer to it. */
  *#all(opened: Opened): Iterable<RetainedMessage> {
    yield bridgeMessage(opened.place)
    for (const limb of this.#options.registry.values()) yield this.#message(opened, limb)
  }

  /** Makes the message for one who asks: the others do not know yet what is no more. */
  #message(opened: Opened, limb: LiveLimb): RetainedMessage {
    const { topic, discovery, changing } = this.#discovery(opened, limb)
    const { published } = opened
    const { nodeId } = limb.record
    published.set(nodeId, { ...changing, ...published.get(nodeId) })
    return { topic, payload: encodeJson(discovery) }
  }

  #discovery(
    { place }: Opened,
    { record, metrics, timeoutMs }: LiveLimb,
  ): { topic: string; discovery: Discovery; changing: Changing } {
    const { nodeId } = record
    const names = this.#known.get(nodeId)?.metrics ?? Object.keys(metrics ?? {})
    const discovery = limbDiscovery(place, record, names, timeoutMs / 1000)
    const all = Object.entries(discovery.components).filter(([id]) => comesAndGoes(id))
    const changing = Object.fromEntries(all.map(([id, { platform }]) => [id, platform]))
    return { topic: place.ids.topic(place.ids.limb(nodeId)), discovery, changing }
  }
}

function bridgeMessage(place: Place): RetainedMessage {
  return { topic: place.ids.topic(place.ids.bridge), payload: encodeJson(bridgeDiscovery(place)) }
}

/** The message with what is no more in it, or is another kind now, as platform alone; undefined when there is none. */
function takenBack(discovery: Discovery, before: Changing): Discovery | undefined {
  const gone = Object.entries(before).filter(
    ([id, platform]) => discovery.components[id]?.platform !== platform,
  )
  if (gone.length === 0) return undefined
  const stubs = Object.fromEntries(gone.map(([id, platform]) => [id, { platform }]))
  return { ...discovery, components: { ...discovery.components, ...stubs } }
}

function originOf(payload: Uint8Array): unknown {
  try {
    const value = JSON.parse(new TextDecoder().decode(payload)) as { origin?: { name?: unknown } } | null
    return value?.origin?.name
  } catch {
    return undefined
  }
}

/** Returns whether `filter` can match a topic of this shape, whose `+` stand for anything. */
function mayMeet(filter: string, shape: string): boolean {
  const asked = filter.split('/')
  const levels = shape.split('/')
  for (const [i, level] of levels.entries()) {
    const ask = asked[i]
    if (ask === '#') return true
    if (ask === undefined || (ask !== '+' && level !== '+' && ask !== level)) return false
  }
  return asked.length === levels.length || asked[levels.length] === '#'
}
