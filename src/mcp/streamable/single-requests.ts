import type { McpHttpHandler } from '@modelcontextprotocol/server'
import type { Clock } from '../../kernel/clock.ts'
import type { Topics } from '../../protocol/topics.ts'
import type { Library } from '../library.ts'
import { isListEvent } from '../limb-changes.ts'
import { limbUri } from '../limb-resources.ts'
import { type McpServerParts, mcpServers } from '../server.ts'
import type { McpCaller } from './caller.ts'
import { type McpAnswer, RPC, refusedAnswer } from './errors.ts'

/** The most streams of `subscriptions/listen`, and the most resources that one of them may name. */
const MAX_LISTENERS = 256
const MAX_LISTENED = 1000
/** The pace at which changes of limbs are told to those who listen. */
const PACE_MS = 500

const TOLD_LEAVES = new Set<string>(['state', 'description'])

/** Serves the protocols from 2026 on: each request stands alone, and who wants to hear of changes keeps one open. */
export class SingleRequests {
  readonly #clock: Clock
  readonly #topics: Topics
  readonly #handler: McpHttpHandler
  readonly #listeners: { readonly listenerCount: number }
  readonly #changed = new Set<string>()
  #listChanged = false
  #cancelTimer: (() => void) | undefined

  constructor(sdk: Library, clock: Clock, topics: Topics) {
    this.#clock = clock
    this.#topics = topics
    const bus = new sdk.InMemoryServerEventBus()
    this.#listeners = bus
    this.#handler = sdk.createMcpHandler(
      async (context) => {
        const parts = context.authInfo?.extra?.parts as McpServerParts
        return await (await mcpServers(parts))(context)
      },
      { legacy: 'reject', maxSubscriptions: MAX_LISTENERS, bus },
    )
  }

  async handle(
    request: Request,
    body: unknown,
    { principal, role }: McpCaller,
    parts: McpServerParts,
    ended: () => void,
  ): Promise<McpAnswer> {
    if (listenedIn(body) > MAX_LISTENED) {
      const text = `a request may listen to ${MAX_LISTENED} resources; send several`
      return { ...refusedAnswer(400, RPC.invalidParams, text), ended }
    }
    const authInfo = { token: '', clientId: principal, scopes: [role], extra: { parts } }
    const response = await this.#handler.fetch(request, { parsedBody: body, authInfo })
    return { response, ended }
  }

  /** Takes what is published. Total and quick. */
  published(topic: string): void {
    if (this.#listeners.listenerCount === 0) return
    const address = this.#topics.parse(topic)
    if (address?.kind === 'node' && TOLD_LEAVES.has(address.leaf)) this.#changed.add(address.nodeId)
    else if (isListEvent(this.#topics, topic)) this.#listChanged = true
    else return
    this.#cancelTimer ??= this.#clock.after(PACE_MS, () => this.#send())
  }

  async close(): Promise<void> {
    this.#cancelTimer?.()
    await this.#handler.close()
  }

  #send(): void {
    this.#cancelTimer = undefined
    const { notify } = this.#handler
    for (const nodeId of this.#changed) notify.resourceUpdated(limbUri(nodeId))
    this.#changed.clear()
    if (this.#listChanged) notify.resourcesChanged()
    this.#listChanged = false
  }
}

/** Counts the resources that a request listens to. */
function listenedIn(body: unknown): number {
  const { params } = (body ?? {}) as { params?: { notifications?: { resourceSubscriptions?: unknown } } }
  const uris = params?.notifications?.resourceSubscriptions
  return Array.isArray(uris) ? uris.length : 0
}
