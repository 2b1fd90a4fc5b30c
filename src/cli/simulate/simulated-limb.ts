import type { Handlers } from '../../client/invocations.ts'
import { Limb, type LimbEvent } from '../../client/limb.ts'
import type { Clock } from '../../kernel/clock.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Heartbeat, Registration } from '../../protocol/schemas.ts'
import type { Chance } from './simulated-random.ts'

/** One pretended limb: that of the client library, with a chance of its own, which drops and comes back. */

export interface FleetCounts {
  connected: number
  approved: number
  pending: number
  rejected: number
  heartbeats: number
  drops: number
  invocations: number
  everConnected: boolean
  /** The last thing that went wrong, for the progress line. */
  trouble: string
}

export interface SimulatedLimbOptions {
  readonly url: string
  readonly topicRoot: string
  readonly nodeId: string
  readonly registration: Registration
  readonly chance: Chance
  readonly heartbeatSeconds: number
  /** Chance of a drop at each heartbeat, in percent. */
  readonly dropPercent: number
  readonly clock: Clock
  readonly counts: FleetCounts
  /** Told when the limb waits for its approval. */
  readonly onPending: (requestId: string, code: string) => void
}

type Standing = 'unknown' | 'pending' | 'approved' | 'rejected'

/** The time that a pretended command takes, from half of it to one and a half. */
const WORK_MS = 300
export class SimulatedLimb {
  readonly #options: SimulatedLimbOptions
  readonly #limb: Limb
  #standing: Standing = 'unknown'
  #online = false
  /** True while the connection is lost on purpose. */
  #dropped = false
  #beats = 0
  #cancelDrop = () => {}

  constructor(options: SimulatedLimbOptions) {
    this.#options = options
    const { url, nodeId, registration, topicRoot, clock, chance, heartbeatSeconds } = options
    let { key } = chance
    this.#limb = new Limb({
      url,
      nodeId,
      registration,
      topicRoot,
      clock,
      heartbeatSeconds,
      random: () => chance.next(),
      keyFile: {
        load: () => key,
        save(next) {
          key = next
        },
      },
      handlers: this.#handlers(),
      heartbeat: () => this.#beat(),
      onEvent: (event) => this.#happened(event),
    })
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
    this.#limb.start()
  }

  /** Says goodbye with DISCONNECT; over within a second. */
  async stop(): Promise<void> {
    this.#cancelDrop()
    await this.#limb.stop()
  }

  #happened(event: LimbEvent): void {
    const { counts } = this.#options
    switch (event.kind) {
      case 'connected':
        if (!this.#online) counts.connected++
        this.#online = counts.everConnected = true
        return
      case 'disconnected':
        if (this.#online) counts.connected--
        this.#online = false
        this.#cancelDrop()
        if (!this.#dropped) counts.trouble = event.reason
        this.#dropped = false
        return
      case 'refused':
        counts.trouble = event.message
        return
      case 'invoked':
        counts.invocations++
        return
      case 'result_dropped':
        return
      case 'pending':
        this.#stands('pending')
        this.#options.onPending(event.requestId, event.code)
        return
      default:
        this.#stands(event.kind)
    }
  }

  #stands(standing: Standing): void {
    const { counts } = this.#options
    if (this.#standing !== 'unknown') counts[this.#standing]--
    if (standing !== 'unknown') counts[standing]++
    this.#standing = standing
  }

  #beat(): Heartbeat {
    const { chance, counts, heartbeatSeconds, dropPercent, clock } = this.#options
    counts.heartbeats++
    if (chance.next() * 100 < dropPercent) {
      this.#cancelDrop()
      this.#cancelDrop = clock.after(heartbeatSeconds * 500, () => {
        counts.drops++
        this.#dropped = true
        this.#limb.drop()
      })
    }
    return { metrics: { heartbeats: ++this.#beats, load: Math.round(chance.next() * 100) / 100 } }
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
