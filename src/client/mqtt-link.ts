import { connect as connectSocket } from 'node:net'
// The build of mqtt.js for browsers has no other export than the default one.
import mqtt, { type IClientOptions, type IConnackPacket, type IPublishPacket, type MqttClient } from 'mqtt'
import type { Clock, MonotonicMs } from '../kernel/clock.ts'
import { messageOf } from '../kernel/errors.ts'
import { Backoff, type BackoffRange } from './backoff.ts'
import { goodbye } from './goodbye.ts'
import { withinReceiveMaximum } from './publish-window.ts'

/**
 * A connection to a broker that comes back after each loss, for all that is a client: limbs, the command line, uplinks.
 * Each attempt is a new client of mqtt.js, whose own reconnecting has a fixed period, stops at a refused CONNACK, and
 * keeps an unbounded queue. It speaks MQTT 5, and 3.1.1 with a broker that does not.
 */

/** A target says where an attempt goes, and as whom. */
export interface LinkTarget {
  readonly to: { readonly url: string } | { readonly socketPath: string }
  /**
   * The options beside those that every link has: identity, keepalive, trust, will. Without a `protocolVersion` it is
   * what the other side speaks.
   */
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
  /** The words of a CONNACK of MQTT 5 for why it refuses. */
  readonly said: string | undefined
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
  /** The version of MQTT; undefined while the target is not known. */
  version: number | undefined
  /** The target says which version it is. */
  pinned: boolean
  opened: boolean
  refused: boolean
  error: unknown
  why: string
  said: string | undefined
  over: boolean
}

/** A timer that only keeps the process alive between two connections, which those of the clock do not. */
const HOLD_MS = 60_000
/** CONNACK: bad user name or password, not authorized; in MQTT 3.1.1 [MQTT-3.2.2.3] and in MQTT 5. */
const NOT_LET_IN: readonly unknown[] = [4, 5, 0x86, 0x87]
/** CONNACK: this version is not spoken, in MQTT 3.1.1 and in MQTT 5. */
const OTHER_VERSION: readonly unknown[] = [1, 0x84]

const COMMON: IClientOptions = {
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
  /** The version to try next. */
  #version: 4 | 5 = 5
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
      version: undefined,
      pinned: false,
      opened: false,
      refused: false,
      error: undefined,
      why: 'the connection was closed',
      said: undefined,
      over: false,
    }
    this.#attempt = attempt
    const failed = (error: unknown) => this.#failed(attempt, error)
    try {
      const target = this.#options.target()
      attempt.pinned = target.options.protocolVersion !== undefined
      attempt.version = target.options.protocolVersion ?? this.#version
      this.#listen(attempt, createClient(target, this.#version, failed))
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
      const { receiveMaximum } = connack.properties ?? {}
      if (receiveMaximum !== undefined) withinReceiveMaximum(client, receiveMaximum)
      this.#events.opened(client, connack)
    })
    client.on('packetreceive', (packet) => {
      if (packet.cmd === 'connack') attempt.said = packet.properties?.reasonString
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
    if (this.#tryOther(attempt)) return
    const { why, said, error, refused } = attempt
    const retryMs = this.#hold && this.#delayAfter(attempt)
    if (retryMs !== undefined) this.#cancelRetry = this.#options.clock.after(retryMs, () => this.#try())
    this.#events.closed({ why, said, error, refused, retryMs })
  }

  /**
   * An old broker refuses MQTT 5, or closes the connection without a word: then it is asked at once in 3.1.1. Whoever
   * cannot be reached in 3.1.1 either is asked in MQTT 5 again the next time, for it may be a newer one by then.
   */
  #tryOther({ opened, pinned, version, error }: Attempt): boolean {
    if (opened || pinned || version === undefined) return false
    this.#version = version === 5 ? 4 : 5
    const isOld = error === undefined || OTHER_VERSION.includes(codeOf(error))
    if (version === 5 && !isOld) this.#version = 5
    if (version !== 5 || !isOld || this.#hold === undefined) return false
    this.#try()
    return true
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

function createClient(
  { to, options }: LinkTarget,
  protocolVersion: 4 | 5,
  failed: (error: unknown) => void,
): MqttClient {
  const all = { ...COMMON, protocolVersion, ...options }
  if ('url' in to) return mqtt.connect(to.url, all)
  return new mqtt.MqttClient(() => {
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
