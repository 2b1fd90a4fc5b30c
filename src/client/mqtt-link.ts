import { connect as connectSocket } from 'node:net'
import { connect, type IClientOptions, type IConnackPacket, type IPublishPacket, MqttClient } from 'mqtt'
import type { Clock, MonotonicMs } from '../kernel/clock.ts'
import { messageOf } from '../kernel/errors.ts'
import { Backoff, type BackoffRange } from './backoff.ts'
import { goodbye } from './goodbye.ts'

/**
 * A connection to a broker that comes back after each loss, for all that is a client: limbs, the command line, uplinks.
 * Each attempt is a new client of mqtt.js, whose own reconnecting has a fixed period, stops at a refused CONNACK, and
 * keeps an unbounded queue.
 */

/** A target says where an attempt goes, and as whom. */
export interface LinkTarget {
  readonly to: { readonly url: string } | { readonly socketPath: string }
  /** The options beside those that every link has: identity, keepalive, trust, will. */
  readonly options: IClientOptions
}

export interface LinkPace extends BackoffRange {
  /** The milliseconds that who was not let in waits; left out, as after any other failure. */
  readonly refusedMs?: number
  /** A connection that lasted so long was a good one; left out, `settled()` alone says so. */
  readonly settledMs?: number
}

export interface MqttLinkOptions {
  readonly clock: Clock
  /** Numbers from 0 up to 1; Math.random when left out. */
  readonly random?: (() => number) | undefined
  /** Asked at each attempt. What it throws is why that attempt failed. */
  readonly target: () => LinkTarget
  /** Left out, the first loss is the end. */
  readonly pace?: LinkPace | undefined
}

/** An end says how an attempt, or the connection that came of it, ended. */
export interface LinkEnd {
  readonly why: string
  /** The last error; undefined when the other side closed the connection and said nothing. */
  readonly error: unknown
  /** The broker does not let this identity in. */
  readonly refused: boolean
  /** The milliseconds until the next attempt; undefined when there is none. */
  readonly retryMs: number | undefined
}

/** They are called as it happens, and must not throw. */
export interface LinkEvents {
  /** CONNACK has come. The client is of use until `closed`. */
  opened(client: MqttClient, connack: IConnackPacket): void
  message(topic: string, payload: Buffer, packet: IPublishPacket): void
  /** Is called once for each attempt, also for one that never opened, and for that which was stopped. */
  closed(end: LinkEnd): void
}

interface Attempt {
  client: MqttClient | undefined
  readonly begunAt: MonotonicMs
  opened: boolean
  refused: boolean
  error: unknown
  why: string
  over: boolean
}

/** A timer that only keeps the process alive between two connections, which those of the clock do not. */
const HOLD_MS = 60_000
/** CONNACK: bad user name or password, not authorized; in MQTT 3.1.1 [MQTT-3.2.2.3] and in MQTT 5. */
const NOT_LET_IN: readonly unknown[] = [4, 5, 0x86, 0x87]

const COMMON: IClientOptions = {
  protocolVersion: 4,
  clean: true,
  reconnectPeriod: 0,
  // Whoever opens a connection asks for its subscriptions again, and sees whether they are granted.
  resubscribe: false,
  queueQoSZero: false,
}

export class MqttLink {
  readonly #options: MqttLinkOptions
  readonly #events: LinkEvents
  readonly #backoff: Backoff | undefined
  #hold: NodeJS.Timeout | undefined
  #attempt: Attempt | undefined
  #cancelRetry = () => {}

  constructor(options: MqttLinkOptions, events: LinkEvents) {
    this.#options = options
    this.#events = events
    if (options.pace) this.#backoff = new Backoff(options.random ?? Math.random, options.pace)
  }

  /** Connects, and comes back after every loss until `stop` or `cut`. */
  start(): void {
    if (this.#hold) return
    this.#hold = setInterval(() => {}, HOLD_MS)
    this.#try()
  }

  /** The connection of now, if there is one. */
  get client(): MqttClient | undefined {
    const client = this.#attempt?.client
    return client?.connected ? client : undefined
  }

  /** The broker has let it in, and says in another way that it is not who it says it is. */
  refused(): void {
    if (this.#attempt) this.#attempt.refused = true
  }

  /** The connection is of use: the next loss is a first one. */
  settled(): void {
    this.#backoff?.reset()
  }

  /** Ends the connection of now without DISCONNECT, as a loss of power would, and comes back. */
  drop(): void {
    endAtOnce(this.#attempt?.client)
  }

  /** Ends with DISCONNECT. Resolves within a second, whatever the other side does. */
  async stop(): Promise<void> {
    this.#stopRetrying()
    const { client } = this
    // There may be nobody to say goodbye to, and nothing that keeps the process alive until that is found out.
    if (client) await goodbye(client, this.#options.clock)
    else this.drop()
  }

  /** Ends without DISCONNECT, at once: the will is published. */
  cut(): void {
    this.#stopRetrying()
    this.drop()
  }

  #stopRetrying(): void {
    clearInterval(this.#hold)
    this.#hold = undefined
    this.#cancelRetry()
  }

  #try(): void {
    const attempt: Attempt = {
      client: undefined,
      begunAt: this.#options.clock.monotonicMs(),
      opened: false,
      refused: false,
      error: undefined,
      why: 'the connection was closed',
      over: false,
    }
    this.#attempt = attempt
    const failed = (error: unknown) => this.#failed(attempt, error)
    try {
      this.#listen(attempt, createClient(this.#options.target(), failed))
    } catch (error) {
      // Whoever starts a link hears of its end after the start.
      queueMicrotask(() => failed(error))
    }
  }

  #listen(attempt: Attempt, client: MqttClient): void {
    attempt.client = client
    client.on('error', (error) => this.#failed(attempt, error))
    client.on('connect', (connack) => {
      if (attempt.over) return
      attempt.opened = true
      this.#events.opened(client, connack)
    })
    client.on('disconnect', ({ reasonCode, properties }) => {
      attempt.why = `the other side ended it: ${properties?.reasonString ?? `reason ${reasonCode}`}`
    })
    client.on('message', (topic, payload, packet) => {
      if (!attempt.over) this.#events.message(topic, payload, packet)
    })
    client.on('close', () => this.#over(attempt))
  }

  #failed(attempt: Attempt, error: unknown): void {
    attempt.error = error
    attempt.why = messageOf(error)
    if (NOT_LET_IN.includes(codeOf(error))) attempt.refused = true
    // Whatever fails before CONNACK is the end of this attempt, whether or not `close` follows.
    if (!attempt.opened) this.#over(attempt)
  }

  #over(attempt: Attempt): void {
    if (attempt.over) return
    attempt.over = true
    attempt.client?.end(true)
    const { why, error, refused } = attempt
    const retryMs = this.#hold && this.#delayAfter(attempt)
    if (retryMs !== undefined) this.#cancelRetry = this.#options.clock.after(retryMs, () => this.#try())
    this.#events.closed({ why, error, refused, retryMs })
  }

  #delayAfter({ refused, opened, begunAt }: Attempt): number | undefined {
    const { pace, clock } = this.#options
    const backoff = this.#backoff
    if (!pace || !backoff) return undefined
    if (refused && pace.refusedMs !== undefined) return backoff.spread(pace.refusedMs)
    // Two programs with one identity must not throw each other out at full speed.
    const livedMs = opened ? clock.monotonicMs() - begunAt : 0
    if (pace.settledMs !== undefined && livedMs >= pace.settledMs) backoff.reset()
    return backoff.next()
  }
}

function createClient({ to, options }: LinkTarget, failed: (error: unknown) => void): MqttClient {
  const all = { ...COMMON, ...options }
  if ('url' in to) return connect(to.url, all)
  return new MqttClient(() => {
    const socket = connectSocket(to.socketPath)
    // mqtt.js does not pass every error of a socket on (ENOENT, EACCES).
    socket.on('error', failed)
    return socket
  }, all)
}

function endAtOnce(client: MqttClient | undefined): void {
  client?.end(true)
  // That does nothing while a goodbye waits for acknowledgements that do not come.
  client?.stream.destroy()
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
}
