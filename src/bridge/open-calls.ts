import { Refusal } from '../kernel/errors.ts'
import type { Call, CallWish } from './call.ts'
import type { BridgeSettings } from './settings.ts'

/** Params of all calls under way, together: what a thousand waiting calls may hold of memory. */
const MAX_PARAMS_BYTES = 67_108_864

/** The calls under way and their bounds. What is counted in is counted out by the same caller. */
export class OpenCalls {
  readonly #limits: BridgeSettings['invocation']
  readonly #byId = new Map<string, Call>()
  readonly #ofPrincipal = new Map<string, number>()
  readonly #running = new Map<string, number>()
  #runningInAll = 0
  #paramsBytes = 0
  #waiting = 0

  constructor(limits: BridgeSettings['invocation']) {
    this.#limits = limits
  }

  get(invocationId: string): Call | undefined {
    return this.#byId.get(invocationId)
  }

  /** How many wait for a lease, for an operator, and for their limb. */
  get byState(): { readonly queued: number; readonly waiting: number; readonly running: number } {
    const [waiting, running] = [this.#waiting, this.#runningInAll]
    return { queued: Math.max(0, this.#byId.size - waiting - running), waiting, running }
  }

  values(): readonly Call[] {
    return [...this.#byId.values()]
  }

  add(call: Call): void {
    this.#byId.set(call.record.invocationId, call)
  }

  delete(call: Call): void {
    this.#byId.delete(call.record.invocationId)
  }

  /** @throws Refusal `too_many_requests` */
  enter(principal: string, wish: CallWish): void {
    const own = this.#ofPrincipal.get(principal) ?? 0
    if (own >= this.#limits.maxPerPrincipal) {
      throw tooMany(`${principal} has ${own} calls under way; wait for their answers`)
    }
    if (this.#paramsBytes + wish.paramsBytes > MAX_PARAMS_BYTES) {
      throw tooMany('the params of all calls under way fill the memory set aside for them; try again later')
    }
    this.#ofPrincipal.set(principal, own + 1)
    this.#paramsBytes += wish.paramsBytes
  }

  leave(principal: string, wish: CallWish): void {
    countDown(this.#ofPrincipal, principal)
    this.#paramsBytes -= wish.paramsBytes
  }

  /** Calls that the limb works on. */
  running(nodeId: string): number {
    return this.#running.get(nodeId) ?? 0
  }

  /** @throws Refusal `too_many_requests` */
  run(call: Call): void {
    const { nodeId } = call.record
    const running = this.running(nodeId)
    if (running >= this.#limits.maxPerNode) {
      throw tooMany(`${nodeId} works on ${running} calls; try again when it has answered some`)
    }
    this.#running.set(nodeId, running + 1)
    this.#runningInAll++
    call.counted = true
  }

  ran(call: Call): void {
    if (!call.counted) return
    countDown(this.#running, call.record.nodeId)
    this.#runningInAll--
    call.counted = false
  }

  /** @throws Refusal `too_many_requests` */
  await(): void {
    if (this.#waiting >= this.#limits.maxWaiting) {
      throw tooMany(`${this.#waiting} calls wait for an operator already; try again later`)
    }
    this.#waiting++
  }

  awaited(): void {
    this.#waiting--
  }
}

function countDown(counts: Map<string, number>, name: string): void {
  const left = (counts.get(name) ?? 1) - 1
  if (left > 0) counts.set(name, left)
  else counts.delete(name)
}

function tooMany(message: string): Refusal {
  return new Refusal('too_many_requests', message)
}
