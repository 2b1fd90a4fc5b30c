import type { CallToolResult } from '@modelcontextprotocol/server'
import type { Clock } from '../kernel/clock.ts'
import { Refusal } from '../kernel/errors.ts'
import { escapeJson } from '../kernel/escape-text.ts'
import { newId } from '../kernel/secrets.ts'
import { within } from '../kernel/semaphore.ts'
import type { ApprovalWatch, ReportProgress } from './approval-watch.ts'
import type { McpBridge } from './bridge.ts'
import type { Values } from './device-text.ts'
import type { FailureOf } from './failures.ts'
import { withoutImages } from './images.ts'
import type { McpTool } from './tools.ts'

/** The time that the bridge has to take invocations back when the server ends. */
const TAKE_BACK_MS = 3000

const ENDED = 'this server ends, and the limb has not answered yet'

export interface ToolCallParts {
  readonly bridge: Pick<McpBridge, 'request'>
  readonly approvals: ApprovalWatch
  readonly clock: Clock
  readonly failureOf: FailureOf
  /**
   * Takes back the invocation of this transaction when it still waits for a lease or a person. Resolves with true when
   * it did: the bridge answers the request then.
   */
  takeBack(transaction: string): Promise<boolean>
}

/** Calls of tools: each is answered, or its invocation is taken back when nobody wants the answer any more. */
export class ToolCalls {
  readonly #parts: ToolCallParts
  /** The controllers that end the waiting for answers, by the transactions of the invocations under way. */
  readonly #invoked = new Map<string, AbortController>()
  /** The transactions of those that go on without their caller. */
  readonly #patient = new Set<string>()
  readonly #running = new Set<Promise<unknown>>()
  readonly #takingBack = new Set<Promise<unknown>>()

  constructor(parts: ToolCallParts) {
    this.#parts = parts
  }

  /** Counts the calls that have not been answered. */
  get underWay(): number {
    return this.#running.size
  }

  run(tool: McpTool, args: Values, report: ReportProgress, signal: AbortSignal): Promise<CallToolResult> {
    const running = this.#run(tool, args, report, signal)
    this.#running.add(running)
    const ended = () => this.#running.delete(running)
    running.then(ended, ended)
    return running
  }

  async #run(
    tool: McpTool,
    args: Values,
    report: ReportProgress,
    signal: AbortSignal,
  ): Promise<CallToolResult> {
    const transaction = newId('')
    try {
      const data = await this.#request(tool, args, report, signal, transaction)
      const { value, images } = withoutImages(tool.result(args, data))
      return {
        content: [{ type: 'text', text: escapeJson(JSON.stringify(value)) }, ...images],
        structuredContent: value,
      }
    } catch (error) {
      const failure = this.#parts.failureOf(error)
      if (!failure) throw error
      return { isError: true, content: [{ type: 'text', text: escapeJson(JSON.stringify(failure)) }] }
    }
  }

  async #request(
    tool: McpTool,
    args: Values,
    report: ReportProgress,
    signal: AbortSignal,
    transaction: string,
  ): Promise<Values> {
    const { bridge, approvals } = this.#parts
    const request = tool.request(args)
    const ending = new AbortController()
    const either = AbortSignal.any([signal, ending.signal])
    const answer = () => bridge.request(request.verb, request.args, either, transaction) as Promise<Values>
    if (request.verb !== 'invoke') return answer()
    const untrack = approvals.track(request.args, transaction, report)
    this.#invoked.set(transaction, ending)
    if (goesOnAlone(request.args)) this.#patient.add(transaction)
    try {
      return await answer()
    } catch (error) {
      throw ending.signal.aborted ? new Refusal('timeout', ENDED) : error
    } finally {
      untrack()
      this.#invoked.delete(transaction)
      if (signal.aborted) this.#takeBack(transaction)
      this.#patient.delete(transaction)
    }
  }

  /** A bridge that cannot be asked takes it back by itself, when the session of this server has ended. */
  #takeBack(transaction: string): void {
    const ending = this.#invoked.get(transaction)
    if (this.#patient.has(transaction)) {
      ending?.abort()
      return
    }
    const taking = this.#parts
      .takeBack(transaction)
      .catch(() => false)
      .then((taken) => {
        if (!taken) ending?.abort()
      })
    this.#takingBack.add(taking)
    void taking.then(() => this.#takingBack.delete(taking))
  }

  /**
   * The server ends: what waits for a lease or a person is taken back, and every call is answered. Resolves within
   * `TAKE_BACK_MS`.
   */
  async stop(): Promise<void> {
    for (const transaction of this.#invoked.keys()) this.#takeBack(transaction)
    const ended = Promise.allSettled([...this.#takingBack, ...this.#running])
    await within(this.#parts.clock, TAKE_BACK_MS, ended)
  }
}

/** Returns whether the caller wants it to wait for a limb that sleeps, and can ask for its answer later. */
function goesOnAlone({ offlineWaitSeconds, idempotencyKey }: Values): boolean {
  return Number(offlineWaitSeconds ?? 0) > 0 && typeof idempotencyKey === 'string'
}
