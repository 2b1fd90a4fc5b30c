import { Counts } from '../../kernel/counts.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { BridgeSettings } from '../settings.ts'
import type { InvocationWish, OpenInvocation } from './open-invocation.ts'

/** Params of all invocations under way, together: what a thousand waiting invocations may hold of memory. */
const MAX_PARAMS_BYTES = 67_108_864

/** The invocations under way and their bounds. What is counted in is counted out by the same caller. */
export class OpenInvocations {
  readonly #limits: BridgeSettings['invocation']
  readonly #byId = new Map<string, OpenInvocation>()
  readonly #ofPrincipal = new Counts()
  /** Counts those that may wait for a limb that is away: they stay for days. */
  readonly #patientOfPrincipal = new Counts()
  readonly #ofNode = new Counts()
  readonly #running = new Counts()
  #runningInAll = 0
  #paramsBytes = 0
  #waiting = 0

  constructor(limits: BridgeSettings['invocation']) {
    this.#limits = limits
  }

  get(invocationId: string): OpenInvocation | undefined {
    return this.#byId.get(invocationId)
  }

  /** Counts how many wait for a lease, for an operator, for a limb that is away (`offline`), and for its answer. */
  byState(offline: number): Readonly<Record<'queued' | 'waiting' | 'offline' | 'running', number>> {
    const [waiting, running] = [this.#waiting, this.#runningInAll]
    return { queued: Math.max(0, this.#byId.size - waiting - running - offline), waiting, offline, running }
  }

  values(): readonly OpenInvocation[] {
    return [...this.#byId.values()]
  }

  add(invocation: OpenInvocation): void {
    const { invocationId, nodeId } = invocation.record
    this.#byId.set(invocationId, invocation)
    this.#ofNode.add(nodeId)
  }

  delete(invocation: OpenInvocation): void {
    const { invocationId, nodeId } = invocation.record
    if (this.#byId.delete(invocationId)) this.#ofNode.remove(nodeId)
  }

  /** Invocations meant for the limb, on their way to it or with it. */
  meantFor(nodeId: string): number {
    return this.#ofNode.of(nodeId)
  }

  /** Says why the limb takes no further invocation now, or undefined. */
  full(nodeId: string): Refusal | undefined {
    const running = this.#running.of(nodeId)
    if (running < this.#limits.maxPerNode) return undefined
    return tooMany(`${nodeId} works on ${running} invocations; try again when it has answered some`)
  }

  /** @throws Refusal `too_many_requests` */
  enter(principal: string, wish: InvocationWish): void {
    const own = this.#countsFor(wish).of(principal)
    if (wish.offlineWaitMs > 0 && own >= this.#limits.maxOfflinePerPrincipal) {
      throw tooMany(
        `${principal} has ${own} invocations with offlineWaitSeconds under way (invocation.maxOfflinePerPrincipal); cancel some, or wait for their answers`,
      )
    }
    if (wish.offlineWaitMs === 0 && own >= this.#limits.maxPerPrincipal) {
      throw tooMany(`${principal} has ${own} invocations under way; wait for their answers`)
    }
    if (this.#paramsBytes + wish.paramsBytes > MAX_PARAMS_BYTES) {
      throw tooMany(
        'the params of all invocations under way fill the memory set aside for them; try again later',
      )
    }
    this.resume(principal, wish)
  }

  /** Counts one in that goes on after a restart: it was let in before. */
  resume(principal: string, wish: InvocationWish): void {
    this.#countsFor(wish).add(principal)
    this.#paramsBytes += wish.paramsBytes
  }

  leave(principal: string, wish: InvocationWish): void {
    this.#countsFor(wish).remove(principal)
    this.#paramsBytes -= wish.paramsBytes
  }

  #countsFor({ offlineWaitMs }: InvocationWish): Counts {
    return offlineWaitMs > 0 ? this.#patientOfPrincipal : this.#ofPrincipal
  }

  /** @throws Refusal `too_many_requests` */
  run(invocation: OpenInvocation): void {
    const { nodeId } = invocation.record
    const full = this.full(nodeId)
    if (full) throw full
    this.#running.add(nodeId)
    this.#runningInAll++
    invocation.counted = true
  }

  ran(invocation: OpenInvocation): void {
    if (!invocation.counted) return
    this.#running.remove(invocation.record.nodeId)
    this.#runningInAll--
    invocation.counted = false
  }

  /** @throws Refusal `too_many_requests` */
  await(): void {
    if (this.#waiting >= this.#limits.maxWaiting) {
      throw tooMany(`${this.#waiting} invocations wait for an operator already; try again later`)
    }
    this.#waiting++
  }

  awaited(): void {
    this.#waiting--
  }
}

function tooMany(message: string): Refusal {
  return new Refusal('too_many_requests', message)
}
