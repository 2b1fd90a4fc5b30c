import { messageOf } from '../kernel/errors.ts'
import { check, parseJson } from '../protocol/decode.ts'
import { LIMITS } from '../protocol/limits.ts'
import {
  type Capability,
  type Invocation,
  type InvocationResult,
  invocationSchema,
} from '../protocol/schemas.ts'

/** Invocations in, results out. */

/**
 * Does what a command asks for. What it returns (JSON) is the result's `data`; what it throws is told as the error.
 * `signal` ends when the deadline has passed: from then on nobody waits for the result.
 */
export type Handler = (invocation: Invocation, signal: AbortSignal) => unknown

export type Handlers = Readonly<Record<string, Handler>>

/** An invocation may come twice (QoS 1); so many are remembered with their results. */
const REMEMBERED = 256
/** A number that is more than the bridge sends to one limb. */
const MAX_RUNNING = 1000
/** Room for the params and what stands around them. */
const MAX_BYTES = 2 * LIMITS.paramsBytes
/** A clock that is wrong must not end a call that has just come. */
const MIN_DEADLINE_MS = 1000

export class LimbInvocations {
  readonly #handlers: Handlers
  readonly #capabilities: readonly Capability[]
  readonly #wallMs: () => number
  readonly #results = new Map<string, Promise<InvocationResult>>()
  readonly #fences = new Map<string, number>()
  #running = 0

  constructor(handlers: Handlers, capabilities: readonly Capability[], wallMs: () => number) {
    this.#handlers = handlers
    this.#capabilities = capabilities
    this.#wallMs = wallMs
  }

  /** The result to send, the same for the same invocation. Undefined for what is no invocation. */
  take(payload: Uint8Array): Promise<InvocationResult> | undefined {
    let invocation: Invocation
    try {
      invocation = check(invocationSchema, parseJson(payload, MAX_BYTES))
    } catch {
      return undefined
    }
    return this.run(invocation)
  }

  run(invocation: Invocation): Promise<InvocationResult> {
    const { invocationId } = invocation
    const known = this.#results.get(invocationId)
    if (known) return known
    const result = this.#run(invocation)
    this.#results.set(invocationId, result)
    const [oldest] = this.#results.keys()
    if (this.#results.size > REMEMBERED && oldest !== undefined) this.#results.delete(oldest)
    return result
  }

  async #run(invocation: Invocation): Promise<InvocationResult> {
    const { invocationId, command } = invocation
    const handler = Object.hasOwn(this.#handlers, command) ? this.#handlers[command] : undefined
    if (!handler) return failed(invocationId, `this limb has no handler for ${command}`)
    if (this.#running >= MAX_RUNNING) return failed(invocationId, 'this limb is doing too much already')
    if (this.#isLate(invocation)) return failed(invocationId, 'a later lease holds this capability')
    this.#running++
    try {
      const left = Date.parse(invocation.deadline) - this.#wallMs()
      const signal = AbortSignal.timeout(
        Math.min(Math.max(left, MIN_DEADLINE_MS), LIMITS.invokeSecondsMax * 1000),
      )
      return bounded({ invocationId, success: true, data: (await handler(invocation, signal)) ?? null })
    } catch (error) {
      return failed(invocationId, messageOf(error))
    } finally {
      this.#running--
    }
  }

  /** A command that was on its way while its lease ended must not disturb the next holder. */
  #isLate({ command, fence }: Invocation): boolean {
    const holders = this.#capabilities.filter((entry) => entry.commands.includes(command))
    const cap = holders.length === 1 ? holders[0]?.cap : undefined
    if (fence === undefined || cap === undefined) return false
    const highest = this.#fences.get(cap) ?? 0
    this.#fences.set(cap, Math.max(highest, fence))
    return fence < highest
  }
}

function failed(invocationId: string, error: string): InvocationResult {
  return { invocationId, success: false, error: error.slice(0, LIMITS.nodeErrorChars) }
}

function bounded(result: InvocationResult): InvocationResult {
  const bytes = new TextEncoder().encode(JSON.stringify(result)).length
  if (bytes <= LIMITS.resultBytes) return result
  return failed(result.invocationId, `the result has ${bytes} bytes; the limit is ${LIMITS.resultBytes}`)
}
