import type { Clock } from '../../kernel/clock.ts'
import { type Topics, topicsOf } from '../../protocol/topics.ts'
import { CliError, SignInRefused, unreachable } from '../exit.ts'
import { type Bridge, type OnMessage, openBridge } from './session.ts'
import { type ConnectionTarget, targetName } from './target.ts'

/** A session with a bridge that may not be up yet: requests say so until it is, and it is tried again and again. */

const SOON_MS = 2000
/** The pause after a refusal, as for a session that comes back: more often would look like guessing at passwords. */
const REFUSED_MS = 60_000

interface Watcher {
  readonly filters: readonly string[]
  readonly onMessage: OnMessage
}

export class LateBridge implements Bridge {
  readonly topics: Topics
  /** Settles with the first try: rejects only when the bridge is there and does not let this principal in. */
  readonly firstTry: Promise<void>
  readonly #target: ConnectionTarget
  readonly #clock: Clock
  readonly #watchers: Watcher[] = []
  readonly #listeners: Array<(connected: boolean) => void> = []
  #bridge: Bridge | undefined
  #why: CliError
  #closed = false
  #cancelTimer = () => {}

  constructor(target: ConnectionTarget, clock: Clock) {
    this.#target = target
    this.#clock = clock
    this.topics = topicsOf(target.root)
    this.#why = unreachable(`the bridge at ${targetName(target)} has not answered yet`)
    this.firstTry = this.#try().then(() => {
      if (this.#why instanceof SignInRefused && !this.#bridge) throw this.#why
    })
    // Whoever does not wait for it hears of it by its requests.
    this.firstTry.catch(() => undefined)
  }

  /** The reason why there is no session yet. */
  get missing(): CliError | undefined {
    return this.#bridge ? undefined : this.#why
  }

  async request(verb: string, args: object, signal?: AbortSignal, transaction?: string): Promise<unknown> {
    if (!this.#bridge) throw this.#why
    return await this.#bridge.request(verb, args, signal, transaction)
  }

  async watch(filters: readonly string[], onMessage: OnMessage): Promise<void> {
    this.#watchers.push({ filters, onMessage })
    await this.#bridge?.watch(filters, onMessage)
  }

  onConnection(listener: (connected: boolean) => void): void {
    this.#listeners.push(listener)
    this.#bridge?.onConnection(listener)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancelTimer()
    await this.#bridge?.close()
  }

  async #try(): Promise<void> {
    try {
      await this.#opened(await openBridge(this.#target, { clock: this.#clock, reconnect: true }))
    } catch (error) {
      if (!(error instanceof CliError)) throw error
      this.#why = error
      this.#later(error instanceof SignInRefused ? REFUSED_MS : SOON_MS)
    }
  }

  #later(ms: number): void {
    if (this.#closed) return
    this.#cancelTimer = this.#clock.after(ms, () => void this.#try())
  }

  async #opened(bridge: Bridge): Promise<void> {
    if (this.#closed) {
      await bridge.close()
      return
    }
    const watchers = [...this.#watchers]
    this.#bridge = bridge
    for (const listener of this.#listeners) bridge.onConnection(listener)
    // What cannot be watched now is asked for again with the next connection.
    for (const { filters, onMessage } of watchers)
      await bridge.watch(filters, onMessage).catch(() => undefined)
    for (const listener of this.#listeners) listener(true)
  }
}
