import type { BridgeProcess } from '../support/bridge-process.ts'
import type { ControlClient } from '../support/control-client.ts'
import { connectRaw, type RawClient } from '../support/raw-client.ts'
import { type LimbState, type ModelLimb, UNKNOWN } from './model.ts'
import type { SeededRandom } from './random.ts'

/** Changes without end, over real sockets, until the process dies under them. */

export const AGENT = 'agent-of-the-test'
const LEVELS = ['free', 'leased', 'gated', 'denied'] as const
const EXTRA_CAPS = ['speaker', 'motor', 'lamp'] as const

/** The bridge answered something that it must not: that is no lost connection. */
export class WrongAnswer extends Error {}

interface PairingAnswer {
  readonly status: string
  readonly requestId?: string
  readonly awaiting?: string
}

/** A limb's live connection, and what it is told. */
class Device {
  readonly client: RawClient
  readonly #limb: ModelLimb
  #answered: ((answer: PairingAnswer) => void) | null = null

  constructor(client: RawClient, limb: ModelLimb) {
    this.client = client
    this.#limb = limb
    client.onMessage = (_topic, payload) => this.#answered?.(JSON.parse(payload.toString()) as PairingAnswer)
  }

  /** Resolves to what it is told next. */
  told(): Promise<PairingAnswer> {
    const answer = new Promise<PairingAnswer>((resolve, reject) => {
      this.#answered = resolve
      void this.client.closed.then(() => reject(new Error('the connection was closed')))
    })
    answer.catch(() => {})
    return answer
  }

  /** `acked` is the PUBACK or the answer, whichever is first: each of them promises what was committed. */
  register(displayName: string, caps: readonly string[]) {
    const answer = this.told()
    const capabilities = caps.map((cap) => ({ cap, commands: [`${cap}.do`], authLevel: 'leased' }))
    const puback = this.client.publish(
      `limb/node/${this.#limb.name}/register`,
      JSON.stringify({ displayName, platform: 'test', capabilities }),
    )
    return { acked: Promise.any([puback, answer]), answer }
  }
}

export async function connectDevice(bridge: BridgeProcess, limb: ModelLimb): Promise<Device> {
  const client = await connectRaw(bridge.mqtt, {
    clientId: limb.name,
    username: limb.name,
    password: limb.key,
  })
  await client.subscribe(`limb/node/${limb.name}/pairing`)
  return new Device(client, limb)
}

export interface StreamOptions {
  readonly bridge: BridgeProcess
  readonly control: ControlClient
  /** Whether the process is being killed: before that, no connection may be lost. */
  readonly dying: () => boolean
  readonly random: SeededRandom
  /** Limbs of earlier lives that may be changed; new ones are added. */
  readonly limbs: ModelLimb[]
  readonly newLimb: () => ModelLimb
  readonly lanes: number
}

/** How many of each change were acknowledged, so that the test can show that it tested something. */
export type Tally = Map<string, number>

/** Resolves when every lane has lost its connection to a process that dies; rejects for any other reason. */
export async function stream(options: StreamOptions, tally: Tally): Promise<void> {
  // A limb belongs to one lane, so that its changes follow each other. All shares before the first lane runs,
  // because it adds limbs at once.
  const lanes = Array.from({ length: options.lanes }, (_, lane) => {
    const mine = options.limbs.filter((_limb, i) => i % options.lanes === lane)
    return new Lane(options, mine, tally)
  })
  await Promise.all(lanes.map((lane) => lane.run()))
}

class Lane {
  readonly #options: StreamOptions
  readonly #mine: ModelLimb[]
  readonly #tally: Tally
  readonly #devices = new Map<ModelLimb, Device>()

  constructor(options: StreamOptions, mine: ModelLimb[], tally: Tally) {
    this.#options = options
    this.#mine = mine
    this.#tally = tally
  }

  async run(): Promise<void> {
    try {
      for (;;) await this.#step()
    } catch (error) {
      if (error instanceof WrongAnswer || !this.#options.dying()) throw error
    } finally {
      for (const { client } of this.#devices.values()) client.cut()
    }
  }

  async #step(): Promise<void> {
    const { random, newLimb, limbs } = this.#options
    let limb = random.chance(0.3) ? undefined : random.pick(this.#mine)
    if (!limb || limb.sure.phase === 'refused') {
      limb = newLimb()
      limbs.push(limb)
      this.#mine.push(limb)
    }
    const [name, change] = this.#choose(limb)
    await change()
    this.#tally.set(name, (this.#tally.get(name) ?? 0) + 1)
  }

  #choose(limb: ModelLimb): [string, () => Promise<void>] {
    const { random } = this.#options
    const { phase, wanted, caps, policies } = limb.sure
    const mayWiden = EXTRA_CAPS.some((cap) => !caps.includes(cap))
    if (phase === 'unknown') return ['registered', () => this.#register(limb)]
    if (phase === 'pending') {
      return random.chance(0.8)
        ? ['approved', () => this.#approve(limb)]
        : ['rejected', () => this.#reject(limb)]
    }
    const dice = random.next()
    if (dice < 0.25) return ['renamed', () => this.#rename(limb)]
    if (dice < 0.5) return ['policy set', () => this.#setPolicy(limb)]
    const [capability] = Object.keys(policies)
    if (dice < 0.6 && capability !== undefined)
      return ['policy deleted', () => this.#deletePolicy(limb, capability)]
    if (dice < 0.8) return ['heartbeat', () => this.#heartbeat(limb)]
    if (dice < 0.85) return ['revoked', () => this.#revoke(limb)]
    if (wanted !== null) return ['approved', () => this.#approve(limb)]
    return mayWiden ? ['widened', () => this.#widen(limb)] : ['renamed', () => this.#rename(limb)]
  }

  async #device(limb: ModelLimb): Promise<Device> {
    const known = this.#devices.get(limb)
    if (known) return known
    const device = await connectDevice(this.#options.bridge, limb)
    this.#devices.set(limb, device)
    return device
  }

  async #do(verb: string, args: object): Promise<void> {
    const answer = await this.#options.control.ask(verb, args)
    if (!answer.ok) throw new WrongAnswer(`${verb} ${JSON.stringify(args)}: ${JSON.stringify(answer.error)}`)
  }

  async #register(limb: ModelLimb): Promise<void> {
    const device = await this.#device(limb)
    const displayName = `${limb.name} by itself`
    const caps = ['camera']
    let answer: Promise<PairingAnswer> | undefined
    await limb.under({ ...UNKNOWN, phase: 'pending', displayName, caps }, async () => {
      const registration = device.register(displayName, caps)
      answer = registration.answer
      await registration.acked
    })
    const { status, requestId } = (await answer) ?? { status: 'silent' }
    if (status !== 'pending' || requestId === undefined)
      throw new WrongAnswer(`${limb.name} is ${status}, not pending`)
    limb.sure = { ...limb.sure, requestId }
  }

  async #widen(limb: ModelLimb): Promise<void> {
    const device = await this.#device(limb)
    const { caps } = limb.sure
    const wanted = [...caps, ...EXTRA_CAPS.filter((cap) => !caps.includes(cap)).slice(0, 1)]
    let answer: Promise<PairingAnswer> | undefined
    await limb.under({ ...limb.sure, wanted }, async () => {
      const registration = device.register(`${limb.name} by itself`, wanted)
      answer = registration.answer
      await registration.acked
    })
    const { status, awaiting } = (await answer) ?? { status: 'silent' }
    if (status !== 'approved' || awaiting === undefined)
      throw new WrongAnswer(`${limb.name} is ${status}, and nothing is awaited`)
    limb.sure = { ...limb.sure, requestId: awaiting }
  }

  async #requestOf(limb: ModelLimb): Promise<string> {
    if (limb.sure.requestId === null) throw new WrongAnswer(`${limb.name} has no known request`)
    return limb.sure.requestId
  }

  async #approve(limb: ModelLimb): Promise<void> {
    const requestId = await this.#requestOf(limb)
    const { sure } = limb
    const next: LimbState = {
      ...sure,
      phase: 'approved',
      caps: sure.wanted ?? sure.caps,
      wanted: null,
      requestId: null,
    }
    const told = this.#devices.get(limb)?.told()
    await limb.under(next, () => this.#do('pairing/approve', { requestId }))
    // It would be taken for the answer to what the limb asks next.
    const { status } = (await told) ?? { status: 'away' }
    if (told !== undefined && status !== 'approved') throw new WrongAnswer(`${limb.name} is told ${status}`)
  }

  async #reject(limb: ModelLimb): Promise<void> {
    const requestId = await this.#requestOf(limb)
    await limb.under({ ...UNKNOWN, phase: 'refused' }, () => this.#do('pairing/reject', { requestId }))
  }

  async #rename(limb: ModelLimb): Promise<void> {
    const displayName = `named ${this.#options.random.below(1_000_000)}`
    await limb.under({ ...limb.sure, displayName }, () =>
      this.#do('node/rename', { nodeId: limb.name, displayName }),
    )
  }

  async #revoke(limb: ModelLimb): Promise<void> {
    await limb.under({ ...UNKNOWN, phase: 'refused' }, () => this.#do('node/revoke', { nodeId: limb.name }))
  }

  async #setPolicy(limb: ModelLimb): Promise<void> {
    const { random } = this.#options
    const capability = random.pick(limb.sure.caps) ?? 'camera'
    const level = random.pick(LEVELS) ?? 'free'
    const policies = { ...limb.sure.policies, [capability]: level }
    await limb.under({ ...limb.sure, policies }, () =>
      this.#do('policy/set', { principal: AGENT, nodeId: limb.name, capability, level }),
    )
  }

  async #deletePolicy(limb: ModelLimb, capability: string): Promise<void> {
    const { [capability]: _gone, ...policies } = limb.sure.policies
    await limb.under({ ...limb.sure, policies }, () =>
      this.#do('policy/delete', { principal: AGENT, nodeId: limb.name, capability }),
    )
  }

  async #heartbeat(limb: ModelLimb): Promise<void> {
    const { client } = await this.#device(limb)
    await client.publish(`limb/node/${limb.name}/heartbeat`, '')
  }
}
