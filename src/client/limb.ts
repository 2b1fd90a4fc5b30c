import type { MqttClient } from 'mqtt'
import { type Clock, systemClock } from '../kernel/clock.ts'
import { messageOf } from '../kernel/errors.ts'
import { check } from '../protocol/decode.ts'
import type { ReportedStatus } from '../protocol/names.ts'
import {
  type Heartbeat,
  type Invocation,
  type PairingAnswer,
  pairingAnswerSchema,
  registrationSchema,
  type WireRegistration,
} from '../protocol/schemas.ts'
import { type Topics, topicsOf } from '../protocol/topics.ts'
import { Backoff } from './backoff.ts'
import { type Handlers, LimbInvocations } from './invocations.ts'
import { KeyFile } from './key-file.ts'
import { type LinkEnd, type LinkTarget, MqttLink } from './mqtt-link.ts'
import { type Unsent, UnsentResults, unsentOf, type WhyDropped } from './unsent.ts'

/** A limb in a Node program: it stays connected, paired and heard, and does what it is invoked for. */

export interface LimbOptions {
  /** `mqtt://`, `mqtts://`, `ws://` or `wss://`. */
  readonly url: string
  readonly nodeId: string
  readonly registration: WireRegistration
  /** The file of its key, made at the first start, mode 0600; or an object that keeps the key otherwise. */
  readonly keyFile: string | LimbKey
  /** The functions that do each command. */
  readonly handlers: Handlers
  /** Told as it happens; must not throw. */
  readonly onEvent?: (event: LimbEvent) => void
  /** Asked at each heartbeat for what else it should say. */
  readonly heartbeat?: () => Heartbeat
  /** The most seconds between two heartbeats; the bridge may ask for more frequent ones. */
  readonly heartbeatSeconds?: number
  /** The certificate authority to trust, in PEM, if it is not one of Node's. */
  readonly ca?: string | Uint8Array
  readonly topicRoot?: string
  /** The system's when absent. */
  readonly clock?: Clock
  /** Numbers from 0 up to 1; Math.random when absent. */
  readonly random?: () => number
}

/** Keeps a limb's key. */
export interface LimbKey {
  load(): string
  /** It has to be kept when this returns: the bridge forgets the old key when it sees the new one. */
  save(key: string): void
}

export type LimbEvent =
  | { readonly kind: 'connected' }
  /** Show the code: the operator compares it. */
  | { readonly kind: 'pending'; readonly code: string; readonly requestId: string }
  | { readonly kind: 'approved'; readonly answer: Extract<PairingAnswer, { status: 'approved' }> }
  /** The key was rejected or revoked. It tries again now and then: a rejection ends after a day. */
  | { readonly kind: 'rejected' }
  /** The bridge did not take the registration, such as for `too_many_requests`. */
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }
  | { readonly kind: 'disconnected'; readonly reason: string; readonly retryMs: number }
  | {
      readonly kind: 'invoked'
      readonly command: string
      readonly principal: string
      readonly success: boolean
    }
  /** A result that no connection took in time, or that too many others waited behind: its caller is told `timeout`. */
  | {
      readonly kind: 'result_dropped'
      readonly invocationId: string
      readonly command: string
      readonly why: WhyDropped
    }

const PACE = {
  firstMs: 1000,
  maxMs: 30_000,
  // A rejection ends after a day.
  refusedMs: 300_000,
  settledMs: 10_000,
}
/** A registration that was refused, such as for `too_many_requests`, is tried again. */
const REGISTER_AGAIN = { firstMs: 3000, maxMs: 30_000 }
const CONNECT_MS = 15_000
const KEEPALIVE_SECONDS = 30
/** The bytes that a dead connection may keep for later. */
const MAX_DATA_BYTES = 262_144

export class Limb {
  readonly #options: LimbOptions
  readonly #clock: Clock
  readonly #topics: Topics
  readonly #keyFile: LimbKey
  readonly #invocations: LimbInvocations
  readonly #unsent: UnsentResults
  readonly #link: MqttLink
  readonly #registerAgain: Backoff
  #key = ''
  #status: ReportedStatus = 'online'
  #heartbeatSeconds = 15
  #approved = false
  #wasPending = false
  #rejected = false
  /** The reason for which this side gave the connection up. */
  #reason: string | undefined
  #cancelBeat = () => {}
  #cancelRegister = () => {}

  /** @throws Refusal when the registration does not follow the schema. */
  constructor(options: LimbOptions) {
    const registration = check(registrationSchema, options.registration)
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#topics = topicsOf(options.topicRoot ?? 'limb')
    const { keyFile, random = Math.random } = options
    this.#keyFile = typeof keyFile === 'string' ? new KeyFile(keyFile) : keyFile
    this.#registerAgain = new Backoff(random, REGISTER_AGAIN)
    this.#invocations = new LimbInvocations(options.handlers, registration.capabilities, () =>
      this.#clock.wallMs(),
    )
    this.#unsent = new UnsentResults(this.#clock, ({ invocationId, command }, why) =>
      this.#emit({ kind: 'result_dropped', invocationId, command, why }),
    )
    this.#link = new MqttLink(
      { clock: this.#clock, random, pace: PACE, target: () => this.#target() },
      {
        opened: (client) => this.#opened(client),
        message: (topic, payload) => this.#received(topic, payload),
        closed: (end) => this.#closed(end),
      },
    )
  }

  /** Connects, and comes back after every loss until `stop`. Throws when there is no key to be had. */
  start(): void {
    if (this.#key === '') this.#key = this.#keyFile.load()
    this.#link.start()
  }

  /** Says goodbye; over within a second. */
  async stop(): Promise<void> {
    this.#cancelBeat()
    this.#cancelRegister()
    await this.#link.stop()
  }

  /** Ends the connection without a word, as a loss of power does, and comes back. */
  drop(): void {
    this.#link.drop()
  }

  /** Told at once, and with every heartbeat from now on. */
  setStatus(status: ReportedStatus): void {
    this.#status = status
    if (this.#approved) this.#beat()
  }

  /** Publishes on `data/<path>`. False when the limb is not connected and approved: telemetry is not kept. */
  publish(
    path: string,
    payload: string | Uint8Array,
    options: { retain?: boolean; qos?: 0 | 1 } = {},
  ): boolean {
    const { client } = this.#link
    if (!client || !this.#approved || payload.length > MAX_DATA_BYTES) return false
    const { retain = false, qos = 0 } = options
    client.publish(`${this.#topics.dataPrefix(this.#options.nodeId)}${path}`, payloadOf(payload), {
      retain,
      qos,
    })
    return true
  }

  #target(): LinkTarget {
    const { url, nodeId, ca } = this.#options
    return {
      to: { url },
      options: {
        clientId: nodeId,
        username: nodeId,
        password: this.#key,
        keepalive: KEEPALIVE_SECONDS,
        connectTimeout: CONNECT_MS,
        ...(ca === undefined ? {} : { ca: [typeof ca === 'string' ? ca : new TextDecoder().decode(ca)] }),
      },
    }
  }

  #opened(client: MqttClient): void {
    this.#approved = this.#wasPending = this.#rejected = false
    this.#reason = undefined
    void this.#register(client, true)
  }

  #received(topic: string, payload: Buffer): void {
    const { client } = this.#link
    if (!client) return
    if (topic === this.#topic('pairing')) this.#answered(client, payload)
    else if (topic === this.#topic('invoke')) void this.#invoked(payload)
  }

  #topic(leaf: 'pairing' | 'invoke' | 'register' | 'heartbeat' | 'result'): string {
    return this.#topics.node(this.#options.nodeId, leaf)
  }

  #emit(event: LimbEvent): void {
    this.#options.onEvent?.(event)
  }

  async #register(client: MqttClient, first: boolean): Promise<void> {
    if (first) this.#emit({ kind: 'connected' })
    try {
      // Before `register`, so that the answer finds a subscriber.
      if (first) await client.subscribeAsync(this.#topic('pairing'), { qos: 1 })
      await client.publishAsync(this.#topic('register'), JSON.stringify(this.#options.registration), {
        qos: 1,
      })
    } catch (error) {
      this.#giveUp(client, error)
    }
  }

  /** It comes back, and is whole then. */
  #giveUp(client: MqttClient, error: unknown): void {
    if (client !== this.#link.client) return
    this.#reason = messageOf(error)
    this.#link.drop()
  }

  #answered(client: MqttClient, payload: Buffer): void {
    const answer = parsed(payload)
    if (!answer) return
    if (answer.status !== 'error') this.#registerAgain.reset()
    switch (answer.status) {
      case 'pending':
        this.#wasPending = true
        this.#emit({ kind: 'pending', code: answer.code, requestId: answer.requestId })
        return
      case 'rejected':
        this.#link.refused()
        this.#rejectedNow()
        return
      case 'error':
        this.#emit({ kind: 'refused', code: answer.error.code, message: answer.error.message })
        this.#cancelRegister()
        this.#cancelRegister = this.#clock.after(this.#registerAgain.next(), () => {
          if (client.connected) void this.#register(client, false)
        })
        return
      case 'approved':
        void this.#approvedNow(client, answer)
    }
  }

  async #approvedNow(
    client: MqttClient,
    answer: Extract<PairingAnswer, { status: 'approved' }>,
  ): Promise<void> {
    // Stored before it is used: the bridge forgets the old key when it sees the new one.
    if (answer.apiKey !== undefined) {
      this.#keyFile.save(answer.apiKey)
      this.#key = answer.apiKey
    }
    this.#heartbeatSeconds = Math.min(answer.heartbeatSeconds, this.#options.heartbeatSeconds ?? Infinity)
    try {
      if (!this.#approved) await client.subscribeAsync(this.#topic('invoke'), { qos: 1 })
    } catch (error) {
      this.#giveUp(client, error)
      return
    }
    if (client !== this.#link.client) return
    this.#approved = true
    this.#beat()
    this.#emit({ kind: 'approved', answer })
    this.#sendUnsent()
    // Whoever was provisioned while it waited is what the operator said, until it says itself what it is.
    if (this.#wasPending) void this.#register(client, false)
    this.#wasPending = false
  }

  #beat(): void {
    const { client } = this.#link
    this.#cancelBeat()
    if (!client) return
    const heartbeat: Heartbeat = { status: this.#status, ...this.#options.heartbeat?.() }
    client.publish(this.#topic('heartbeat'), JSON.stringify(heartbeat), { qos: 0 })
    this.#cancelBeat = this.#clock.after(this.#heartbeatSeconds * 1000, () => this.#beat())
  }

  async #invoked(payload: Buffer): Promise<void> {
    const received = { wallMs: this.#clock.wallMs(), monotonicMs: this.#clock.monotonicMs() }
    const running = this.#invocations.take(payload)
    if (!running) return
    const result = await running
    const invocation = JSON.parse(payload.toString('utf8')) as Invocation
    const { command, principal } = invocation
    this.#emit({ kind: 'invoked', command, principal, success: result.success })
    this.#send(unsentOf(invocation, result, received))
  }

  /**
   * Sends on the connection of now, else on the next: the bridge waits for the result over a loss of the one it asked
   * on.
   */
  #send(result: Unsent): void {
    const { client } = this.#link
    if (!client || !this.#approved) {
      this.#unsent.add(result)
      return
    }
    client.publish(this.#topic('result'), payloadOf(result.payload), { qos: 1 }, (error) => {
      if (!error) return
      // MQTT 5 says that it is not taken; 3.1.1 has no words for that.
      if (typeof (error as { code?: unknown }).code === 'number') {
        const { invocationId, command } = result
        this.#emit({ kind: 'result_dropped', invocationId, command, why: 'refused' })
        return
      }
      this.#unsent.add(result)
      // An old connection may end after the next one has begun.
      if (client !== this.#link.client) this.#sendUnsent()
    })
  }

  /** Sends only once approved: what another client publishes is acknowledged, and dropped. */
  #sendUnsent(): void {
    if (!this.#link.client || !this.#approved) return
    for (const result of this.#unsent.takeAll()) this.#send(result)
  }

  #rejectedNow(): void {
    if (!this.#rejected) this.#emit({ kind: 'rejected' })
    this.#rejected = true
  }

  #closed({ why, refused, retryMs }: LinkEnd): void {
    this.#approved = false
    this.#cancelBeat()
    this.#cancelRegister()
    if (retryMs === undefined) return
    if (refused) this.#rejectedNow()
    this.#rejected = false
    this.#emit({ kind: 'disconnected', reason: this.#reason ?? why, retryMs })
    this.#reason = undefined
  }
}

/** The types of mqtt.js know the bytes of Node alone; it sends any. */
function payloadOf(payload: string | Uint8Array): string | Buffer {
  return payload as string | Buffer
}

function parsed(payload: Buffer): PairingAnswer | undefined {
  try {
    return pairingAnswerSchema.safeParse(JSON.parse(payload.toString('utf8'))).data
  } catch {
    return undefined
  }
}
