import { canonicalJson } from '../domain/canonical.ts'
import type { Clock } from '../kernel/clock.ts'
import { messageOf } from '../kernel/errors.ts'
import { sha256Hex } from '../kernel/secrets.ts'
import { approvalSchema, type PendingApproval } from '../protocol/schemas.ts'
import type { McpBridge } from './bridge.ts'

/** Reports to a caller while its invocation takes time: that it waits for a person, that it runs. */

export type ReportProgress = (progress: number, message: string) => void

/** Clients give a silent invocation up after a minute. */
const TICK_MS = 5000

interface Watched {
  readonly matches: (approval: PendingApproval) => boolean
  approval: PendingApproval | undefined
  decided: boolean
  changed(): void
}

/** Follows the invocations of one principal that wait for an operator. */
export class ApprovalWatch {
  readonly #clock: Clock
  readonly #principal: string
  readonly #invocations = new Set<Watched>()

  constructor(clock: Clock, principal: string) {
    this.#clock = clock
    this.#principal = principal
  }

  async follow(bridge: Pick<McpBridge, 'topics' | 'watch'>): Promise<void> {
    const prefix = bridge.topics.approval('')
    await bridge.watch([bridge.topics.approval('+')], (topic, payload) =>
      this.#received(topic.slice(prefix.length), payload),
    )
  }

  /**
   * Follows only those that come from now on: an equal invocation that waits already is not one to be tracked later.
   */
  async followNew(bridge: Pick<McpBridge, 'topics' | 'watch'>): Promise<void> {
    const prefix = bridge.topics.approval('')
    await bridge.watch([bridge.topics.approval('+')], (topic, payload, retained) => {
      if (!retained) this.#received(topic.slice(prefix.length), payload)
    })
  }

  #received(id: string, payload: Buffer): void {
    if (payload.length === 0) {
      for (const invocation of this.#invocations) {
        if (invocation.approval?.invocationId !== id) continue
        invocation.decided = true
        invocation.changed()
      }
      return
    }
    const approval = parsed(payload)
    if (approval?.principal === this.#principal) this.#assign(approval)
  }

  /** Assigns an approval: of two equal invocations, to the one that has none yet. */
  #assign(approval: PendingApproval): void {
    const invocations = [...this.#invocations]
    if (invocations.some((invocation) => invocation.approval?.invocationId === approval.invocationId)) return
    const invocation = invocations.find((each) => each.approval === undefined && each.matches(approval))
    if (!invocation) return
    invocation.approval = approval
    invocation.changed()
  }

  /** Reports at once when something changes, and every few seconds that it still goes on. Returns what ends it. */
  track(args: Readonly<Record<string, unknown>>, transaction: string, report: ReportProgress): () => void {
    const start = this.#clock.monotonicMs()
    let last = -1
    let cancel = () => {}
    const show = () => {
      cancel()
      // It must rise with every message, by the rules of MCP.
      last = Math.max(last + 0.001, Math.round(this.#clock.monotonicMs() - start) / 1000)
      report(last, textOf(invocation))
      cancel = this.#clock.after(TICK_MS, show)
    }
    const invocation: Watched = {
      matches: matcher(args, transaction),
      approval: undefined,
      decided: false,
      changed: show,
    }
    this.#invocations.add(invocation)
    cancel = this.#clock.after(TICK_MS, show)
    return () => {
      cancel()
      this.#invocations.delete(invocation)
    }
  }
}

function textOf({ approval, decided }: Watched): string {
  if (!approval) return 'the bridge has the invocation; it waits for the limb'
  const { invocationId, command, nodeId, expiresAt } = approval
  return decided
    ? `${invocationId} is decided; waiting for its result`
    : `${command} of ${nodeId} waits for a person to approve it until ${expiresAt}: limb-bridge invocation approve ${invocationId}`
}

function parsed(payload: Buffer): PendingApproval | undefined {
  try {
    return approvalSchema.safeParse(JSON.parse(payload.toString('utf8'))).data
  } catch {
    return undefined
  }
}

/** Matches by the transaction of its request; by what it asks for when the bridge is too old to say it. */
function matcher(
  { nodeId, command, params = {} }: Readonly<Record<string, unknown>>,
  transaction: string,
): Watched['matches'] {
  const hash = hashOf(params)
  return (approval) => {
    if (approval.transaction !== undefined) return approval.transaction === transaction
    return (
      approval.command === command &&
      approval.paramsHash === hash &&
      (nodeId === undefined || approval.nodeId === nodeId)
    )
  }
}

/** The bridge refuses what cannot be hashed, so no approval has this one. */
function hashOf(params: unknown): string {
  try {
    return sha256Hex(canonicalJson(params))
  } catch (error) {
    return messageOf(error)
  }
}
