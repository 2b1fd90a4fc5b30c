import type { IClientOptions } from 'mqtt'
import type { LinkEnd, LinkPace, LinkTarget, MqttLink } from '../../client/mqtt-link.ts'
import { trustedAuthorities } from '../../kernel/authorities.ts'
import type { Clock } from '../../kernel/clock.ts'
import type { ErrorBody } from '../../kernel/errors.ts'
import { newId } from '../../kernel/secrets.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { responseSchema } from '../../protocol/schemas.ts'
import { filterMatches, type Topics, topicsOf } from '../../protocol/topics.ts'
import { isVerb, VERBS, type VerbDefinition } from '../../protocol/verbs.ts'
import { CliError, EXIT, RefusedByBridge, type SignInRefused, unreachable, withCommands } from '../exit.ts'
import { connectionError, isSignInRefusal, notThatPrincipal, signInRefused } from './mqtt-errors.ts'
import { serviceFailure, unlessServiceFails } from './service.ts'
import { type ConnectionTarget, targetName } from './target.ts'

/** A session with the bridge: requests with their responses, and topics to watch. */

export type OnMessage = (topic: string, payload: Buffer, retained: boolean) => void

export interface Bridge {
  readonly topics: Topics
  /**
   * The verb's data. Throws RefusedByBridge, or CliError when no answer comes. One that takes as long as a limb or
   * an operator takes is waited for that long; `signal` ends the waiting, not what the bridge does (see `takeBack`).
   */
  request(verb: string, args: object, signal?: AbortSignal, transaction?: string): Promise<unknown>
  /** Resolves when the bridge has granted every filter; they are asked for again after a reconnect. */
  watch(filters: readonly string[], onMessage: OnMessage): Promise<void>
  /** Told at every loss and return of the connection. */
  onConnection(listener: (connected: boolean) => void): void
  close(): Promise<void>
}

export interface OpenOptions {
  readonly clock: Clock
  /** Comes back by itself when the connection is lost; else the loss ends every request. */
  readonly reconnect?: boolean
  readonly answerSeconds?: number
  readonly connectSeconds?: number
  /** Numbers from 0 up to 1; Math.random when left out. */
  readonly random?: () => number
}

interface Waiting {
  readonly resolve: (data: unknown) => void
  readonly reject: (error: Error) => void
  readonly cancelTimer: () => void
}

const ANSWER_SECONDS = 10
/** A request of thousands of limbs takes the bridge some seconds. */
const LARGE_ANSWER_SECONDS = 60
/** An operator may be given a day for an approval (`invocation.approvalSeconds`); the bridge ends it before that. */
const LONG_ANSWER_SECONDS = 86_400 + 2 * LIMITS.invokeSecondsMax + LIMITS.offlineWaitSecondsMax
const LARGE_BYTES = 100_000
const CONNECT_SECONDS = 10
const KEEPALIVE_SECONDS = 30
/**
 * A session that stays comes back soon after a loss, and once a minute while it is not let in, so that the bridge does
 * not take it for somebody who guesses at passwords.
 */
const PACE: LinkPace = { firstMs: 2000, maxMs: 2000, refusedMs: 60_000 }

/** The file of `--ca` stands alone. */
function trustOf({ url, ca }: { readonly url: string; readonly ca: Buffer | undefined }): IClientOptions {
  if (ca !== undefined) return { ca: [ca] }
  return /^(mqtts|wss):/.test(url) ? { ca: [...trustedAuthorities()] } : {}
}

function linkTarget(
  target: ConnectionTarget,
  clientId: string,
  { connectSeconds = CONNECT_SECONDS }: OpenOptions,
): LinkTarget {
  const common = { clientId, keepalive: KEEPALIVE_SECONDS, connectTimeout: connectSeconds * 1000 }
  const { endpoint, principal: username, role } = target
  if (endpoint.kind === 'url') {
    const password = target.passwordNow?.() ?? target.password ?? ''
    return { to: { url: endpoint.url }, options: { ...common, username, password, ...trustOf(endpoint) } }
  }
  // The control socket asks for no password; the bridge reads the role that a session wants to have there.
  const lowered = role === undefined ? {} : { username, password: `role:${role}` }
  return { to: { socketPath: endpoint.path }, options: { ...common, ...lowered } }
}

/** Throws CliError when there is no bridge, or it lets this principal not in. */
export async function openBridge(target: ConnectionTarget, options: OpenOptions): Promise<Bridge> {
  const failed = await serviceFailure(target)
  if (failed !== undefined) throw failed
  // Loaded when needed: `--help` and completion answer without it.
  const { MqttLink: Link } = await import('../../client/mqtt-link.ts')
  const session = new BridgeSession(Link, target, options)
  await session.open()
  return session
}

class BridgeSession implements Bridge {
  readonly topics: Topics
  readonly #link: MqttLink
  readonly #target: ConnectionTarget
  readonly #clock: Clock
  readonly #answerSeconds: number
  readonly #waiting = new Map<string, Waiting>()
  readonly #watchers: Array<{ filters: readonly string[]; onMessage: OnMessage }> = []
  readonly #listeners: Array<(connected: boolean) => void> = []
  /** The first attempt, while it is under way. */
  #opening: PromiseWithResolvers<void> | undefined
  /** The last refusal of the bridge, while it does not let this session in. */
  #refusal: SignInRefused | undefined
  #closed = false

  constructor(Link: typeof MqttLink, target: ConnectionTarget, options: OpenOptions) {
    this.#target = target
    this.#clock = options.clock
    this.#answerSeconds = options.answerSeconds ?? ANSWER_SECONDS
    this.topics = topicsOf(target.root)
    const clientId = newId('cli-')
    this.#link = new Link(
      {
        clock: options.clock,
        random: options.random,
        pace: options.reconnect ? PACE : undefined,
        target: () => linkTarget(target, clientId, options),
      },
      {
        opened: () => this.#opened(),
        message: (topic, payload, packet) => this.#received(topic, payload, packet.retain),
        closed: (end) => this.#over(end),
      },
    )
  }

  async open(): Promise<void> {
    this.#opening = Promise.withResolvers<void>()
    this.#link.start()
    try {
      await unlessServiceFails(this.#target, this.#opening.promise)
      await this.#subscribeResponses()
    } catch (error) {
      await this.close()
      // Who signs in under a name that nobody has is a device, and may not subscribe to responses.
      throw error instanceof CliError && error.exitCode === EXIT.refused
        ? notThatPrincipal(this.#target)
        : error
    }
  }

  async #subscribeResponses(): Promise<void> {
    await this.#subscribe([this.topics.response(this.#target.principal, '#')])
  }

  #opened(): void {
    if (!this.#opening) {
      void this.#back()
      return
    }
    this.#opening.resolve()
    this.#opening = undefined
  }

  #over({ error, said }: LinkEnd): void {
    if (this.#opening) {
      this.#opening.reject(connectionError(this.#target, error, said))
      return
    }
    if (isSignInRefusal(error)) this.#refusal = signInRefused(this.#target)
    this.#lost()
  }

  async #back(): Promise<void> {
    this.#logState(true)
    const responses = this.#subscribeResponses()
    // A watcher is told what there is to be told; that it once could watch is no reason to end.
    for (const { filters } of this.#watchers) this.#subscribe(filters).catch(() => undefined)
    try {
      await responses
      this.#refusal = undefined
    } catch {
      if (this.#link.client && !this.#closed) this.#notLetIn()
    }
  }

  /** The bridge takes it for somebody else: that no principal has this name, it does not say at the sign-in. */
  #notLetIn(): void {
    this.#refusal = notThatPrincipal(this.#target)
    this.#link.refused()
    this.#link.drop()
  }

  async #subscribe(filters: readonly string[]): Promise<void> {
    const { client } = this.#link
    if (!client) throw this.#lostError()
    try {
      await client.subscribeAsync([...filters], { qos: 1 })
    } catch (error) {
      if (this.#closed || client !== this.#link.client) throw this.#lostError()
      throw new CliError(
        1,
        `the bridge does not let ${this.#target.principal} subscribe to ${filters.join(', ')}: ${String(error)}`,
      )
    }
  }

  request(verb: string, args: object, signal?: AbortSignal, transaction = newId('')): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const { client } = this.#link
      if (!client) {
        reject(this.#lostError())
        return
      }
      const payload = JSON.stringify({ ...args, transaction })
      const seconds = this.#secondsFor(verb, payload.length)
      const stopTimer = this.#clock.after(seconds * 1000, () => {
        this.#settle(transaction)?.reject(unreachable(this.#noAnswer(verb, seconds)))
      })
      const aborted = () =>
        this.#settle(transaction)?.reject(new CliError(EXIT.interrupted, `nobody waits for ${verb} any more`))
      signal?.addEventListener('abort', aborted, { once: true })
      const cancelTimer = () => {
        stopTimer()
        signal?.removeEventListener('abort', aborted)
      }
      this.#waiting.set(transaction, { resolve, reject, cancelTimer })
      client.publish(this.topics.request(this.#target.principal, verb), payload, { qos: 1 }, (error) => {
        if (error) this.#settle(transaction)?.reject(this.#notSent(error))
      })
    })
  }

  async watch(filters: readonly string[], onMessage: OnMessage): Promise<void> {
    this.#watchers.push({ filters, onMessage })
    await this.#subscribe(filters)
  }

  onConnection(listener: (connected: boolean) => void): void {
    this.#listeners.push(listener)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#link.stop()
  }

  #received(topic: string, payload: Buffer, retained: boolean): void {
    if (topic.startsWith(this.topics.response(this.#target.principal, ''))) this.#answered(payload)
    for (const { filters, onMessage } of this.#watchers) {
      if (filters.some((filter) => filterMatches(filter, topic))) onMessage(topic, payload, retained)
    }
  }

  #answered(payload: Buffer): void {
    const response = parseResponse(payload)
    const waiting = response && this.#settle(String(response.transaction))
    if (!waiting) return
    if (response.ok) waiting.resolve(response.data)
    else waiting.reject(new RefusedByBridge(response.error as ErrorBody))
  }

  #settle(transaction: string): Waiting | undefined {
    const waiting = this.#waiting.get(transaction)
    this.#waiting.delete(transaction)
    waiting?.cancelTimer()
    return waiting
  }

  #lost(): void {
    this.#logState(false)
    for (const transaction of [...this.#waiting.keys()]) this.#settle(transaction)?.reject(this.#lostError())
  }

  #logState(connected: boolean): void {
    for (const listener of this.#listeners) listener(connected)
  }

  #lostError(): CliError {
    if (this.#refusal) return this.#refusal
    return unreachable(
      `the bridge at ${targetName(this.#target)} closed the connection; whether the request was carried out is not known`,
    )
  }

  /** The request did not leave, or the bridge does not take it, which MQTT 5 has words for. */
  #notSent(error: Error): CliError {
    if (typeof (error as { code?: unknown }).code !== 'number') return this.#lostError()
    return new CliError(EXIT.refused, `the bridge does not take this request: ${error.message}`)
  }

  #secondsFor(verb: string, bytes: number): number {
    const definition: VerbDefinition | undefined = isVerb(verb) ? VERBS[verb] : undefined
    if (definition?.long) return LONG_ANSWER_SECONDS
    return bytes > LARGE_BYTES ? LARGE_ANSWER_SECONDS : this.#answerSeconds
  }

  #noAnswer(verb: string, seconds: number): string {
    const role = isVerb(verb) ? VERBS[verb].role : undefined
    const hint =
      role === undefined
        ? ''
        : `: is the bridge busy, and does ${this.#target.principal} have the role ${role}?`
    return `no answer to ${withCommands(verb)} within ${seconds} s${hint}`
  }
}

function parseResponse(payload: Buffer) {
  try {
    const value: unknown = JSON.parse(payload.toString('utf8'))
    if (typeof value !== 'object' || value === null) return undefined
    // JSON leaves out what is undefined: a verb without data is answered without the key.
    const result = responseSchema.safeParse({ data: null, ...value })
    return result.success ? result.data : undefined
  } catch {
    return undefined
  }
}
