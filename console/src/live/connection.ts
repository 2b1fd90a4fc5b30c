import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import type { ErrorBody } from '../../../src/kernel/errors.ts'
import type { VerbResult } from '../../../src/protocol/results.ts'
import { type Topics, topicsOf } from '../../../src/protocol/topics.ts'
import type { VerbArgs, VerbName } from '../../../src/protocol/verbs.ts'
import { Signal } from './signal.ts'

/** The one MQTT session of the page: an ordinary principal's, over WebSocket. */

export interface Credentials {
  readonly name: string
  /** A password or a token. */
  readonly secret: string
}

/** `lost`: it was there, and is being looked for. */
export type LinkState = 'off' | 'connecting' | 'online' | 'lost'

/** `retained`: it is the answer to a subscription, and no news. */
export type OnMessage = (topic: string, payload: Uint8Array, retained: boolean) => void

/** What the bridge, or the way to it, answered in place of data. */
export class AskError extends Error {
  readonly body: ErrorBody | { readonly code: 'connection_lost' | 'no_answer'; readonly message: string }
  constructor(body: AskError['body']) {
    super(body.message)
    this.body = body
  }
  get code(): string {
    return this.body.code
  }
}

/** Why a sign-in failed, by the code of CONNACK; `unreachable` when there was none. */
export type SignInProblem = 'refused' | 'busy' | 'unreachable'

interface Waiting {
  readonly resolve: (data: unknown) => void
  readonly reject: (error: AskError) => void
  readonly timer: ReturnType<typeof setTimeout>
}

const ANSWER_MS = 20_000
const RETRY_MS = 1000
const RETRY_MAX_MS = 15_000
const CONNECT_MS = 10_000
const KEEPALIVE_SECONDS = 20
/** CONNACK: the server is unavailable; everything else that refuses is about who asks. */
const UNAVAILABLE = 3

const decoder = new TextDecoder()

export class Connection {
  readonly changed = new Signal()
  state: LinkState = 'off'
  lostAt = 0
  name = ''
  onMessage: OnMessage = () => {}
  /** Told at each connect, before anything is subscribed: all messages of the session come after it. */
  onConnect: () => void = () => {}
  /** Told at each connect, when everything is subscribed; retained messages may have come before it. */
  onOnline: () => void = () => {}
  /** Told when a session that had begun is lost. */
  onLost: () => void = () => {}
  /** The bridge takes these credentials no more. */
  onRefused: () => void = () => {}
  #client: MqttClient | undefined
  #topics: Topics = topicsOf('limb')
  #transactions = 0
  #attempts = 0
  readonly #waiting = new Map<string, Waiting>()
  readonly #filters = new Map<string, number>()

  get topics(): Topics {
    return this.#topics
  }

  /** Resolves when the bridge has let the principal in; rejects with a SignInProblem. */
  open({ name, secret }: Credentials, root: string): Promise<void> {
    this.close()
    this.#topics = topicsOf(root)
    this.name = name
    this.#set('connecting')
    const client = mqtt.connect(webSocketUrl(), optionsFor(name, secret))
    this.#client = client
    return new Promise((resolve, reject: (problem: SignInProblem) => void) => {
      let admitted = false
      client.on('connect', () => {
        if (this.#client !== client) return
        this.#attempts = 0
        void this.#begin(client).then((begun) => {
          if (!begun) return
          admitted = true
          resolve()
        })
      })
      client.on('message', (topic, payload, { retain }) => this.#received(topic, payload, retain))
      client.on('error', (error) => {
        if (this.#client !== client) return
        const code = (error as { code?: unknown }).code
        if (typeof code !== 'number') return
        const problem = code === UNAVAILABLE ? 'busy' : 'refused'
        if (problem === 'busy' && admitted) return
        this.close()
        if (admitted) this.onRefused()
        else reject(problem)
      })
      client.on('close', () => {
        if (this.#client !== client) return
        if (!admitted) {
          this.close()
          reject('unreachable')
          return
        }
        this.#lost(client)
      })
    })
  }

  /** False when the session ended before everything was subscribed. */
  async #begin(client: MqttClient): Promise<boolean> {
    this.onConnect()
    const filters = [this.#topics.response(this.name, '#'), ...this.#filters.keys()]
    await client.subscribeAsync(filters, { qos: 1 }).catch(() => undefined)
    if (this.#client !== client || !client.connected) return false
    this.#set('online')
    this.onOnline()
    return true
  }

  #lost(client: MqttClient): void {
    const pause = Math.min(RETRY_MS * 2 ** this.#attempts++, RETRY_MAX_MS)
    client.options.reconnectPeriod = pause * (0.5 + Math.random())
    if (this.state !== 'lost') this.lostAt = Date.now()
    this.#set('lost')
    this.onLost()
    this.#giveUp('connection_lost', 'the connection was lost before the bridge answered')
  }

  #giveUp(code: 'connection_lost', message: string): void {
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer)
      reject(new AskError({ code, message }))
    }
    this.#waiting.clear()
  }

  /** Now, and not when the pause is over. */
  retry(): void {
    if (this.state === 'lost') this.#client?.reconnect()
  }

  close(): void {
    const client = this.#client
    this.#client = undefined
    client?.end(true)
    this.#giveUp('connection_lost', 'signed out')
    this.#set('off')
  }

  #set(state: LinkState): void {
    if (this.state === state) return
    this.state = state
    this.changed.changed()
  }

  /** Holds over reconnects, for as long as the page is there. */
  hold(filter: string): void {
    if (!this.#filters.has(filter)) this.#filters.set(filter, 1)
  }

  /** Holds over reconnects until the function that it returns is called. */
  subscribe(filter: string): () => void {
    const count = this.#filters.get(filter) ?? 0
    this.#filters.set(filter, count + 1)
    if (count === 0 && this.state === 'online') this.#client?.subscribe(filter, { qos: 1 })
    let held = true
    return () => {
      if (!held) return
      held = false
      const left = (this.#filters.get(filter) ?? 1) - 1
      if (left > 0) this.#filters.set(filter, left)
      else {
        this.#filters.delete(filter)
        if (this.state === 'online') this.#client?.unsubscribe(filter)
      }
    }
  }

  #received(topic: string, payload: Uint8Array, retained: boolean): void {
    if (this.#topics.parse(topic)?.kind !== 'response') {
      this.onMessage(topic, payload, retained)
      return
    }
    const answer = parseJson(payload) as
      | { transaction?: unknown; ok: boolean; data: unknown; error: ErrorBody }
      | undefined
    const key = String(answer?.transaction)
    const waiting = this.#waiting.get(key)
    // Another session of the same principal asked.
    if (answer === undefined || waiting === undefined) return
    this.#waiting.delete(key)
    clearTimeout(waiting.timer)
    if (answer.ok) waiting.resolve(answer.data)
    else waiting.reject(new AskError(answer.error))
  }

  /** The data of the answer; rejects with an AskError. `waitMs`: how long it may take. */
  ask<V extends VerbName>(
    verb: V,
    args: Partial<VerbArgs<V>> = {},
    waitMs = ANSWER_MS,
  ): Promise<VerbResult<V>> {
    const client = this.#client
    if (client === undefined || this.state !== 'online') {
      return Promise.reject(
        new AskError({ code: 'connection_lost', message: 'there is no connection to the bridge' }),
      )
    }
    const transaction = `${SESSION}-${++this.#transactions}`
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(transaction)
        reject(new AskError({ code: 'no_answer', message: 'the bridge has not answered in time' }))
      }, waitMs)
      this.#waiting.set(transaction, { resolve: resolve as (data: unknown) => void, reject, timer })
      client.publish(this.#topics.request(this.name, verb), JSON.stringify({ transaction, ...args }), {
        qos: 1,
      })
    })
  }
}

/** Tells this page's requests from those of other programs of the same principal. */
const SESSION = Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36)).join('')

function optionsFor(name: string, secret: string): IClientOptions {
  return {
    username: name,
    password: secret,
    clientId: `console-${SESSION}`,
    protocolVersion: 4,
    clean: true,
    keepalive: KEEPALIVE_SECONDS,
    connectTimeout: CONNECT_MS,
    reconnectPeriod: RETRY_MS,
    reconnectOnConnackError: true,
    resubscribe: false,
    queueQoSZero: false,
    // With it, mqtt.js makes 65,536 little buffers before it connects: a seventh of a second of every page.
    writeCache: false,
    // The other one starts a worker of text, which the page's policy forbids.
    timerVariant: 'native',
  }
}

function webSocketUrl(): string {
  const url = new URL('mqtt', location.href)
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:'
  url.hash = ''
  url.search = ''
  return url.href
}

export function parseJson(payload: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(payload))
  } catch {
    return undefined
  }
}

export function textOf(payload: Uint8Array): string {
  return decoder.decode(payload)
}
