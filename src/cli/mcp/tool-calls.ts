import type { CallToolResult } from '@modelcontextprotocol/server'
import type { Clock } from '../../kernel/clock.ts'
import { escapeJson } from '../../kernel/escape-text.ts'
import { newId } from '../../kernel/secrets.ts'
import type { Bridge } from '../session/session.ts'
import { takeBack } from '../session/take-back.ts'
import type { ApprovalWatch, ReportProgress } from '../verbs/invocation-progress.ts'
import { failureOf } from './failures.ts'
import { withoutImages } from './images.ts'
import type { McpTool, Values } from './tools.ts'

/** At the end of the server, so long the bridge is given to take invocations back. */
const TAKE_BACK_MS = 3000

export interface ToolCallParts {
  readonly bridge: Bridge
  readonly principal: string
  readonly approvals: ApprovalWatch
  readonly clock: Clock
}

/** Calls of tools: each is answered, or its invocation is taken back when nobody wants the answer any more. */
export class ToolCalls {
  readonly #parts: ToolCallParts
  /** Transactions of the invocations under way. */
  readonly #invoked = new Set<string>()
  readonly #takingBack = new Set<Promise<unknown>>()

  constructor(parts: ToolCallParts) {
    this.#parts = parts
  }

  async run(
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
      const failure = failureOf(error)
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
    const answer = () => bridge.request(request.verb, request.args, signal, transaction) as Promise<Values>
    if (request.verb !== 'invoke') return answer()
    const untrack = approvals.track(request.args, transaction, report)
    this.#invoked.add(transaction)
    try {
      return await answer()
    } finally {
      untrack()
      this.#invoked.delete(transaction)
      if (signal.aborted) this.#takeBack(transaction)
    }
  }

  /** A bridge that cannot be asked takes it back by itself, when the session of this server has ended. */
  #takeBack(transaction: string): void {
    const { bridge, clock, principal } = this.#parts
    const taking = takeBack(bridge, clock, principal, transaction).catch(() => undefined)
    this.#takingBack.add(taking)
    void taking.then(() => this.#takingBack.delete(taking))
  }

  /** The server ends: what waits for a lease or a person is taken back. Resolves within `TAKE_BACK_MS`. */
  async stop(): Promise<void> {
    for (const transaction of this.#invoked) this.#takeBack(transaction)
    let cancel = () => {}
    const late = new Promise<void>((resolve) => {
      cancel = this.#parts.clock.after(TAKE_BACK_MS, resolve)
    })
    await Promise.race([Promise.all(this.#takingBack), late])
    cancel()
  }
}
