import type { Clock } from '../kernel/clock.ts'
import { Refusal } from '../kernel/errors.ts'
import type { Topics } from '../protocol/topics.ts'
import type { McpBridge } from './bridge.ts'
import { limbUri } from './limb-resources.ts'

/** The pace at which a limb that changes all the time is told. */
const PACE_MS = 500
/** The most limbs that one client may subscribe to. */
const MAX_SUBSCRIPTIONS = 1000

/** The events after which the list of limbs is another one. */
const LIST_EVENTS = new Set([
  'pairing_approved',
  'node_provisioned',
  'node_revoked',
  'node_renamed',
  'node_updated',
])

/** Returns whether a message says that the list of limbs is another one. */
export function isListEvent(topics: Topics, topic: string): boolean {
  const prefix = topics.event('')
  return topic.startsWith(prefix) && LIST_EVENTS.has(topic.slice(prefix.length))
}

export interface ChangeListener {
  updated(uri: string): void
  listChanged(): void
}

/**
 * Tells one client which limbs have changed: those that it subscribed to, and the list. Changes in quick succession
 * are told as one.
 */
export class LimbChanges {
  readonly #bridge: McpBridge
  readonly #clock: Clock
  readonly #listener: ChangeListener
  readonly #subscribed = new Set<string>()
  readonly #watched = new Set<string>()
  readonly #changed = new Set<string>()
  #listChanged = false
  #cancelTimer: (() => void) | undefined

  constructor(bridge: McpBridge, clock: Clock, listener: ChangeListener) {
    this.#bridge = bridge
    this.#clock = clock
    this.#listener = listener
  }

  async followList(): Promise<void> {
    const { topics } = this.#bridge
    await this.#bridge.watch([topics.event('+')], (topic) => {
      if (!isListEvent(topics, topic)) return
      this.#listChanged = true
      this.#soon()
    })
  }

  /** @throws Refusal `too_many_requests` */
  async subscribe(nodeId: string): Promise<void> {
    if (!this.#watched.has(nodeId)) {
      if (this.#watched.size >= MAX_SUBSCRIPTIONS) {
        const text = `a client may subscribe to ${MAX_SUBSCRIPTIONS} limbs; begin another session for more`
        throw new Refusal('too_many_requests', text, 'uri')
      }
      this.#watched.add(nodeId)
      const { topics } = this.#bridge
      const filters = [topics.node(nodeId, 'state'), topics.node(nodeId, 'description')]
      await this.#bridge.watch(filters, (_topic, _payload, retained) => {
        if (!retained) this.#limbChanged(nodeId)
      })
    }
    this.#subscribed.add(nodeId)
  }

  unsubscribe(nodeId: string): void {
    this.#subscribed.delete(nodeId)
    this.#changed.delete(nodeId)
  }

  stop(): void {
    this.#cancelTimer?.()
    this.#subscribed.clear()
  }

  #limbChanged(nodeId: string): void {
    if (!this.#subscribed.has(nodeId)) return
    this.#changed.add(nodeId)
    this.#soon()
  }

  #soon(): void {
    this.#cancelTimer ??= this.#clock.after(PACE_MS, () => {
      this.#cancelTimer = undefined
      const changed = [...this.#changed]
      this.#changed.clear()
      for (const nodeId of changed) this.#listener.updated(limbUri(nodeId))
      if (!this.#listChanged) return
      this.#listChanged = false
      this.#listener.listChanged()
    })
  }
}
