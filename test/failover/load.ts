import { setTimeout as wait } from 'node:timers/promises'
import mqtt, { type MqttClient } from 'mqtt'
import type { Loose } from '../support/client.ts'
import { ROBOT } from '../support/worker.ts'

/** What people, agents and new devices do meanwhile, and which of it was acknowledged to them. */

export interface Facts {
  /** Limbs whose `pending` came. */
  readonly registered: Set<string>
  readonly approved: Set<string>
  /** Limbs of a policy that was stored. */
  readonly policies: Set<string>
  /** The newest fence of each limb's arm. */
  readonly fences: Map<string, number>
  /** Fences that were not above the one before. */
  readonly lower: string[]
  /** Keys of invocations whose result came. */
  readonly ran: Set<string>
  refused: number
}

export interface Load {
  readonly facts: Facts
  stop(): Promise<void>
}

const ANSWER_MS = 4000
const PAUSE_MS = 20

/** A session that comes back by itself; an answer that does not come in time is none. */
class Asker {
  readonly #client: MqttClient
  readonly #name: string
  readonly #waiting = new Map<string, (answer: Loose) => void>()
  #count = 0

  constructor(port: number, name: string, password: string) {
    this.#name = name
    this.#client = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
      username: name,
      password,
      reconnectPeriod: 300,
      connectTimeout: 3000,
      keepalive: 15,
      queueQoSZero: false,
    })
    this.#client.on('error', () => undefined)
    this.#client.on('connect', () =>
      this.#client.subscribe(`limb/principal/${name}/response/#`, { qos: 1 }, () => undefined),
    )
    this.#client.on('message', (_topic, payload) => {
      const answer = JSON.parse(payload.toString()) as Loose
      this.#waiting.get(answer.transaction)?.(answer)
    })
  }

  /** Undefined: whether it was done is not known. */
  async ask(verb: string, args: object): Promise<Loose | undefined> {
    if (!this.#client.connected) {
      await wait(100)
      return undefined
    }
    const transaction = `${this.#name}-${process.pid}-${this.#count++}`
    const answered = new Promise<Loose>((resolve) => this.#waiting.set(transaction, resolve))
    const topic = `limb/principal/${this.#name}/request/${verb}`
    this.#client.publish(topic, JSON.stringify({ transaction, ...args }), { qos: 0 })
    const answer = await Promise.race([answered, wait(ANSWER_MS)])
    this.#waiting.delete(transaction)
    return answer ?? undefined
  }

  end(): void {
    this.#client.end(true)
  }
}

/** Registers one device after the other; resolves with the request that was acknowledged as pending. */
async function register(port: number, nodeId: string): Promise<string | undefined> {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
    username: nodeId,
    password: nodeId.padEnd(24, 'k'),
    reconnectPeriod: 0,
    connectTimeout: 3000,
  })
  try {
    const pending = new Promise<string>((resolve, reject) => {
      client.on('error', reject)
      client.on('close', () => reject(new Error('closed')))
      client.on('message', (_topic, payload) => {
        const { status, requestId } = JSON.parse(payload.toString()) as Loose
        if (status === 'pending') resolve(requestId)
        else reject(new Error(String(status)))
      })
      client.on('connect', () => {
        client.subscribe(`limb/node/${nodeId}/pairing`, { qos: 1 }, () =>
          client.publish(`limb/node/${nodeId}/register`, JSON.stringify(ROBOT), { qos: 1 }),
        )
      })
    })
    pending.catch(() => undefined)
    return (await Promise.race([pending, wait(ANSWER_MS)])) ?? undefined
  } catch {
    return undefined
  } finally {
    client.end(true)
  }
}

export interface LoadOptions {
  readonly port: number
  readonly round: string
  readonly limbs: readonly string[]
  readonly password: string
  /** The newest fences so far; goes on through all rounds. */
  readonly fences: Map<string, number>
}

export function startLoad({ port, round, limbs, password, fences }: LoadOptions): Load {
  const facts: Facts = {
    registered: new Set(),
    approved: new Set(),
    policies: new Set(),
    fences,
    lower: [],
    ran: new Set(),
    refused: 0,
  }
  const operator = new Asker(port, 'op', password)
  const agent = new Asker(port, 'ann', password)
  const decider = new Asker(port, 'op', password)
  let stopped = false
  const until = (again: (turn: number) => Promise<void>) =>
    (async () => {
      for (let turn = 0; !stopped; turn++) {
        await again(turn)
        await wait(PAUSE_MS)
      }
    })()
  const done = (answer: Loose | undefined): boolean => {
    if (answer?.ok === false) facts.refused++
    return answer?.ok === true
  }
  const limb = (turn: number) => limbs[turn % limbs.length] as string
  const loops = [
    until(async (turn) => {
      const nodeId = `new-${round}-${turn}`
      const requestId = await register(port, nodeId)
      if (requestId === undefined) return
      facts.registered.add(nodeId)
      if (!done(await operator.ask('pairing/approve', { requestId }))) return
      facts.approved.add(nodeId)
      const policy = { principal: 'ann', nodeId, capability: 'camera', level: 'denied' }
      if (done(await operator.ask('policy/set', policy))) facts.policies.add(nodeId)
    }),
    until(async (turn) => {
      const nodeId = limb(turn % 5)
      const answer = await agent.ask('lease/acquire', { nodeId, capability: 'arm' })
      if (!done(answer)) return
      const { fence, leaseId } = answer.data
      if (fence <= (facts.fences.get(nodeId) ?? 0))
        facts.lower.push(`${nodeId}: ${fence} after ${facts.fences.get(nodeId)}`)
      facts.fences.set(nodeId, fence)
      await agent.ask('lease/release', leaseId === undefined ? { nodeId, capability: 'arm' } : { leaseId })
    }),
    until(async (turn) => {
      const key = `key-${round}-${turn}`
      const call = { nodeId: limb(turn + 7), command: 'camera.snap', params: { key }, idempotencyKey: key }
      // Asked until it is known, as who has a key does.
      for (let tries = 0; tries < 3 && !stopped; tries++) {
        const answer = await agent.ask('invoke', call)
        if (done(answer)) facts.ran.add(key)
        if (answer !== undefined && answer.error?.code !== 'storage_unavailable') return
      }
    }),
    until(async (turn) => {
      const key = `gate-${round}-${turn}`
      const call = { nodeId: limb(turn + 13), command: 'saw.cut', params: { key }, idempotencyKey: key }
      const answered = agent.ask('invoke', call)
      await wait(PAUSE_MS)
      const waiting = await decider.ask('invocation/list', { state: 'waiting' })
      for (const { invocationId } of waiting?.data?.items ?? [])
        await decider.ask('invocation/approve', { invocationId })
      if (done(await answered)) facts.ran.add(key)
    }),
  ]
  return {
    facts,
    async stop() {
      stopped = true
      await Promise.all(loops)
      for (const each of [operator, agent, decider]) each.end()
    },
  }
}
