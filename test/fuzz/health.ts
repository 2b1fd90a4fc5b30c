import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { keyOf } from '../support/app.ts'
import type { BridgeProcess } from '../support/bridge-process.ts'
import { patience } from '../support/patience.ts'
import { connectRaw, type RawClient } from '../support/raw-client.ts'

const HEALTHY = 'healthy'
const ANSWER_MS = patience(10_000)

export interface Held {
  readonly bytes: number
  readonly files: number
  readonly sessions: number
}

/** Two ordinary clients that live through all rounds, and what the bridge holds besides. */
export class Health {
  readonly #bridge: BridgeProcess
  readonly #admin: RawClient
  readonly #limb: RawClient
  #heard: (status: string) => void = () => {}
  #busy = false

  private constructor(bridge: BridgeProcess, admin: RawClient, limb: RawClient) {
    this.#bridge = bridge
    this.#admin = admin
    this.#limb = limb
    admin.onMessage = (_topic, payload) => this.#heard(payload.toString())
  }

  /** Makes the two limbs of the run: the healthy one, and the one that is attacked with. */
  static async start(bridge: BridgeProcess, fuzzed: string): Promise<Health> {
    const admin = await connectRaw({ socket: bridge.control }, { clientId: 'healthy-admin' })
    for (const nodeId of [HEALTHY, fuzzed]) {
      const args = { transaction: nodeId, nodeId, apiKey: keyOf(nodeId) }
      await admin.publish('limb/principal/admin/request/node/provision', JSON.stringify(args))
    }
    const key = { clientId: HEALTHY, username: HEALTHY, password: keyOf(HEALTHY) }
    const limb = await connectRaw(bridge.mqtt, key)
    const health = new Health(bridge, admin, limb)
    await admin.subscribe(`limb/node/${HEALTHY}/status`)
    return health
  }

  /** A heartbeat changes the status that others see, and a QoS 1 publish is acknowledged; or rejects. */
  async check(): Promise<void> {
    if (!this.#admin.alive || !this.#limb.alive) throw new Error('a healthy client was disconnected')
    this.#busy = !this.#busy
    const status = this.#busy ? 'busy' : 'online'
    const seen = new Promise<void>((resolve) => {
      this.#heard = (heard) => {
        if (heard === status) resolve()
      }
    })
    const acknowledged = this.#limb.publish(`limb/node/${HEALTHY}/heartbeat`, JSON.stringify({ status }))
    await inTime('a heartbeat', Promise.all([seen, acknowledged]))
    await inTime('a QoS 1 publish', this.#admin.publish('t/health', 'x'))
  }

  /** After a collection of garbage. */
  async held(): Promise<Held> {
    const { child, pid, http } = this.#bridge
    const answer = once(child, 'message')
    child.send('report')
    const [{ heldBytes }] = (await inTime('a report', answer)) as [{ heldBytes: number }]
    if (http === undefined) throw new Error('the bridge has no metrics')
    const metrics = await (
      await fetch(`http://${http.host}:${http.port}/metrics`, { headers: { connection: 'close' } })
    ).text()
    const sessions = [...metrics.matchAll(/^limb_sessions\{.*\} (\d+)$/gm)].reduce(
      (sum, [, n]) => sum + Number(n),
      0,
    )
    return { bytes: heldBytes, files: readdirSync(`/proc/${pid}/fd`).length, sessions }
  }

  end(): void {
    this.#admin.cut()
    this.#limb.cut()
  }
}

async function inTime<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} was not answered within ${ANSWER_MS} ms`)), ANSWER_MS)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
