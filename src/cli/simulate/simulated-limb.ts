import type { MqttClient } from 'mqtt'
import { goodbye } from '../../client/goodbye.ts'
import { type Handlers, LimbInvocations } from '../../client/invocations.ts'
import type { Clock } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { type PairingAnswer, pairingAnswerSchema, type Registration } from '../../protocol/schemas.ts'
import type { Topics } from '../../protocol/topics.ts'
import type { Chance } from './simulated-random.ts'

/** One pretended limb: registers with its own key, sends heartbeats, answers calls, drops and comes back. */

export interface FleetCounts {
  connected: number
  approved: number
  pending: number
  rejected: number
  heartbeats: number
  drops: number
  calls: number
  everConnected: boolean
  /** The last thing that went wrong, for the progress line. */
  trouble: string
}

export interface SimulatedLimbOptions {
  readonly url: string
  readonly topics: Topics
  readonly nodeId: string
  readonly registration: Registration
  readonly chance: Chance
  readonly heartbeatSeconds: number
  /** Chance of a drop at each heartbeat, in percent. */
  readonly dropPercent: number
  readonly clock: Clock
  readonly counts: FleetCounts
}

type Standing = 'unknown' | 'pending' | 'approved' | 'rejected'

const RECONNECT_MS = 1000
const RECONNECT_MAX_MS = 30_000
const REGISTER_AGAIN_MS = 3000
const CONNECT_MS = 15_000
const KEEPALIVE_SECONDS = 60
/** The time that a pretended command takes, from half of it to one and a half. */
const WORK_MS = 300
/** CONNACK codes after which trying again is pointless: the key is refused. */
const REFUSED_CODES = [4, 5]

export class SimulatedLimb {
  readonly #options: SimulatedLimbOptions
  readonly #calls: LimbInvocations
  #client: MqttClient | undefined
  #standing: Standing = 'unknown'
  #online = false
  #stopped = false
  #attempts = 0
  #registrations = 0
  #beats = 0
  #cancelTimer = () => {}

  constructor(options: SimulatedLimbOptions) {
    this.#options = options
    const { capabilities } = options.registration
    this.#calls = new LimbInvocations(this.#handlers(), capabilities, () => options.clock.wallMs())
  }

  /** Does nothing for each command, and takes its time for it. */
  #handlers(): Handlers {
    const { registration, clock, chance } = this.#options
    const commands = registration.capabilities.flatMap((capability) => capability.commands)
    return Object.fromEntries(
      commands.map((name) => [
        name,
        async ({ command, params }) => {
          await new Promise<void>((done) => clock.after(WORK_MS * (0.5 + chance.next()), done))
          return { simulated: true, command, params }
        },
      ]),
    )
  }

  start(): void {
    void this.#connect()
  }

  /** Says goodbye with DISCONNECT; over within a second. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#cancelTimer()
    const client = this.#client
    if (!client) return
    await goodbye(client, this.#options.clock)
  }

  #later(ms: number, task: () => void): void {
    this.#cancelTimer()
    // Jitter: a fleet that lost its bridge together must not come back in one instant.
    this.#cancelTimer = this.#options.clock.after(ms * (0.5 + this.#options.chance.next()), task)
  }

  async #connect(): Promise<void> {
    const { connect } = await import('mqtt')
    if (this.#stopped) return
    const { url, nodeId, chance } = this.#options
    const client = connect(url, {
      protocolVersion: 4,
      clientId: nodeId,
      username: nodeId,
      password: chance.key,
      clean: true,
      keepalive: KEEPALIVE_SECONDS,
      connectTimeout: CONNECT_MS,
      reconnectPeriod: 0,
    })
    this.#client = client
    client.on('error', (error) => this.#troubled(error))
    client.on('connect', () => void this.#register(client))
    client.on('message', (topic, payload) => {
      if (topic === this.#options.topics.node(nodeId, 'invoke')) void this.#invoked(client, payload)
      else this.#answered(client, payload)
    })
    client.once('close', () => this.#closed(client))
  }

  #troubled(error: unknown): void {
    this.#options.counts.trouble = messageOf(error)
    const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
    if (typeof code === 'number' && REFUSED_CODES.includes(code)) this.#stands('rejected')
  }

  async #register(client: MqttClient): Promise<void> {
    const { topics, nodeId, registration, counts } = this.#options
    if (!this.#online) counts.connected++
    this.#online = true
    counts.everConnected = true
    this.#attempts = 0
    try {
      // Before `register`, so that the answer finds a subscriber.
      await client.subscribeAsync(topics.node(nodeId, 'pairing'), { qos: 1 })
      await client.publishAsync(topics.node(nodeId, 'register'), JSON.stringify(registration), { qos: 1 })
    } catch (error) {
      this.#troubled(error)
      client.end(true)
    }
  }

  #answered(client: MqttClient, payload: Buffer): void {
    const answer = parseAnswer(payload)
    if (!answer || this.#stopped) return
    if (answer.status === 'error') this.#refused(client, answer.error.message)
    else this.#stands(answer.status)
    if (answer.status === 'approved') void this.#approved(client)
  }

  /** Online is who can be called: the heartbeat comes after the subscription. */
  async #approved(client: MqttClient): Promise<void> {
    const { topics, nodeId } = this.#options
    try {
      await client.subscribeAsync(topics.node(nodeId, 'invoke'), { qos: 1 })
      this.#beat(client)
    } catch (error) {
      this.#troubled(error)
      client.end(true)
    }
  }

  async #invoked(client: MqttClient, payload: Buffer): Promise<void> {
    const result = await this.#calls.take(payload)
    if (!result || !client.connected) return
    const { topics, nodeId, counts } = this.#options
    counts.calls++
    client.publish(topics.node(nodeId, 'result'), JSON.stringify(result), { qos: 1 })
  }

  /** Such as `too_many_requests`: only so many may wait from one address. */
  #refused(client: MqttClient, message: string): void {
    this.#options.counts.trouble = message
    this.#registrations++
    const wait = Math.min(RECONNECT_MAX_MS, REGISTER_AGAIN_MS * 2 ** Math.min(4, this.#registrations - 1))
    this.#later(wait, () => {
      if (client.connected) void this.#register(client)
    })
  }

  #stands(standing: Standing): void {
    const { counts } = this.#options
    if (this.#standing !== 'unknown') counts[this.#standing]--
    if (standing !== 'unknown') counts[standing]++
    this.#standing = standing
  }

  #beat(client: MqttClient): void {
    const { topics, nodeId, chance, counts, heartbeatSeconds, dropPercent } = this.#options
    if (this.#stopped || !client.connected) return
    const heartbeat = { metrics: { heartbeats: ++this.#beats, load: Math.round(chance.next() * 100) / 100 } }
    client.publish(topics.node(nodeId, 'heartbeat'), JSON.stringify(heartbeat), { qos: 0 })
    counts.heartbeats++
    if (chance.next() * 100 < dropPercent) {
      counts.drops++
      // Without DISCONNECT, as a device that loses its power.
      this.#later(heartbeatSeconds * 500, () => client.end(true))
    } else {
      this.#cancelTimer()
      this.#cancelTimer = this.#options.clock.after(heartbeatSeconds * 1000, () => this.#beat(client))
    }
  }

  #closed(client: MqttClient): void {
    if (this.#online) this.#options.counts.connected--
    this.#online = false
    client.end(true)
    if (this.#stopped || this.#standing === 'rejected') return
    this.#later(Math.min(RECONNECT_MAX_MS, RECONNECT_MS * 2 ** this.#attempts), () => void this.#connect())
    this.#attempts = Math.min(10, this.#attempts + 1)
  }
}

function parseAnswer(payload: Buffer): PairingAnswer | undefined {
  try {
    return pairingAnswerSchema.safeParse(JSON.parse(payload.toString('utf8'))).data
  } catch {
    return undefined
  }
}

const KINDS = [
  { name: 'Camera', platform: 'esp32', capabilities: [['camera', ['camera.snap'], 'leased']] },
  { name: 'Thermometer', platform: 'esp8266', capabilities: [['temperature', ['temperature.read'], 'free']] },
  {
    name: 'Robot arm',
    platform: 'raspberrypi',
    capabilities: [
      ['arm', ['arm.move', 'arm.grip', 'arm.stop'], 'gated'],
      ['camera', ['camera.snap', 'camera.stream'], 'leased'],
    ],
  },
  { name: 'Door lock', platform: 'zephyr', capabilities: [['lock', ['lock.open', 'lock.close'], 'gated']] },
] as const

/** Makes the registration of the limb of this number. */
export function registrationOf(number: number, heartbeatSeconds: number): Registration {
  const kind = KINDS[(number - 1) % KINDS.length] ?? KINDS[0]
  return {
    displayName: `${kind.name} ${number}`,
    platform: kind.platform,
    firmware: '1.0.0',
    capabilities: kind.capabilities.map(([cap, commands, authLevel]) => ({
      cap,
      commands: [...commands],
      authLevel,
    })),
    heartbeatSeconds: Math.max(LIMITS.heartbeatSecondsMin, heartbeatSeconds),
  }
}
