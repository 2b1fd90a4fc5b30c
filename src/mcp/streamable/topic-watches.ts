import type { OnTopic } from '../bridge.ts'

/** Hands what is published to those who watch for it, at the cost of two look-ups for each message. */
export class TopicWatches {
  /** The watchers, by the topic itself, or by all before its last level with the `/`. */
  readonly #watchers = new Map<string, Set<OnTopic>>()

  /** Adds a watcher of filters that have no wildcard but `+` as the last level. Returns what ends it. */
  add(filters: readonly string[], onTopic: OnTopic): () => void {
    const keys = filters.map((filter) => (filter.endsWith('/+') ? filter.slice(0, -1) : filter))
    for (const key of keys) {
      const watchers = this.#watchers.get(key) ?? new Set()
      this.#watchers.set(key, watchers.add(onTopic))
    }
    return () => {
      for (const key of keys) this.#remove(key, onTopic)
    }
  }

  take(topic: string, payload: Uint8Array): void {
    const exact = this.#watchers.get(topic)
    const below = this.#watchers.get(topic.slice(0, topic.lastIndexOf('/') + 1))
    if (exact === undefined && below === undefined) return
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
    for (const onTopic of [...(exact ?? []), ...(below ?? [])]) onTopic(topic, bytes, false)
  }

  get size(): number {
    return this.#watchers.size
  }

  #remove(key: string, onTopic: OnTopic): void {
    const watchers = this.#watchers.get(key)
    watchers?.delete(onTopic)
    if (watchers?.size === 0) this.#watchers.delete(key)
  }
}
