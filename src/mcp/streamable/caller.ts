import type { Role } from '../../protocol/names.ts'
import type { Topics } from '../../protocol/topics.ts'
import type { McpBridge, OnTopic } from '../bridge.ts'
import type { TopicWatches } from './topic-watches.ts'

/** Is a principal that has signed in with an HTTP request. */
export interface McpCaller {
  /** Is the same for the same principal and token: a session belongs to one. */
  readonly key: string
  readonly principal: string
  readonly role: Role
  /** Returns whether its password, token and role are what they were. */
  isCurrent(): boolean
  /** Calls the function once when they are not any more. Returns what ends the watch. */
  whenEnded(ended: () => void): () => void
  /** Rejects with a Refusal. The signal ends the request: the bridge takes back what waits. */
  request: McpBridge['request']
}

/** The bridge of one session, or of one request, in the bridge's own process. */
export class CallerBridge implements McpBridge {
  readonly topics: Topics
  readonly request: McpBridge['request']
  readonly #watches: TopicWatches
  readonly #unwatch: (() => void)[] = []
  #closed = false

  constructor(topics: Topics, caller: McpCaller, watches: TopicWatches) {
    this.topics = topics
    this.request = caller.request
    this.#watches = watches
  }

  async watch(filters: readonly string[], onTopic: OnTopic): Promise<void> {
    if (!this.#closed) this.#unwatch.push(this.#watches.add(filters, onTopic))
  }

  /** Does nothing: a bridge does not lose itself. */
  onConnection(): void {}

  close(): void {
    this.#closed = true
    for (const unwatch of this.#unwatch.splice(0)) unwatch()
  }
}
