import { RefusedByBridge } from '../cli/exit.ts'
import { newId } from '../kernel/secrets.ts'
import type { CommandDescription } from '../protocol/descriptions.ts'
import type { Capability } from '../protocol/schemas.ts'
import type { CheckParts } from './check-parts.ts'
import type { ClauseId } from './clauses.ts'
import { clipped, type SeenResult } from './device.ts'
import { parsed, sampleParams, wrongParams } from './values.ts'

/** Invokes one command of the device: well, twice, with params that it cannot use, and with an old fence. */

const ALL: readonly ClauseId[] = [
  'invoke.answered',
  'invoke.result',
  'invoke.result-qos',
  'invoke.once',
  'invoke.error',
  'invoke.fence',
]
const DEADLINE_SECONDS = 15
const ONLINE_SECONDS = 5

interface Chosen {
  readonly capability: Capability
  readonly command: string
  readonly described: CommandDescription | undefined
}

export class InvocationTrial {
  readonly #parts: CheckParts

  constructor(parts: CheckParts) {
    this.#parts = parts
  }

  async run(): Promise<void> {
    const { report, wishes, progress } = this.#parts
    const chosen = this.#choose()
    if (typeof chosen === 'string') {
      for (const clause of ALL) report.notTried(clause, chosen)
      return
    }
    const params = wishes.params ?? sampleParams(chosen.described?.input)
    progress(`${chosen.command} is invoked with ${clipped(JSON.stringify(params))}`)
    const first = await this.#invoke(chosen, params)
    if (first === undefined) return
    await this.#again(first)
    await this.#wrong(chosen)
    await this.#oldFence(chosen, params)
  }

  /** Chooses a command that changes nothing if there is one, else the first. Returns a text when there is none. */
  #choose(): Chosen | string {
    const { device, wishes } = this.#parts
    const { capabilities = [], described } = device.registration ?? {}
    const all = capabilities.flatMap((capability) =>
      capability.commands.map((command) => ({
        capability,
        command,
        described: described?.commands?.find(({ name }) => name === command),
      })),
    )
    if (wishes.command !== undefined)
      return (
        all.find(({ command }) => command === wishes.command) ??
        `it has registered no command ${wishes.command}`
      )
    return all.find((each) => each.described?.safe) ?? all[0] ?? 'it has registered no command'
  }

  /** Resolves with the device's result; undefined when none came, which the report then says. */
  async #invoke({ command }: Chosen, params: unknown, noCheck = false): Promise<SeenResult | undefined> {
    const { device, report, bridge } = this.#parts
    const before = device.results.length
    const refusal = await bridge
      .request('invoke', {
        nodeId: device.nodeId,
        command,
        params,
        timeoutSeconds: DEADLINE_SECONDS,
        // A heartbeat that was seen at the door may still be on its way to the bridge.
        offlineWaitSeconds: ONLINE_SECONDS,
        ...(noCheck && { noCheck }),
      })
      .then(
        () => undefined,
        (error: unknown) => error,
      )
    const result = device.results.slice(before).at(0)
    if (result !== undefined) {
      report.holds('invoke.answered')
      this.#judge(result, refusal)
      return result
    }
    this.#unanswered(refusal)
    return undefined
  }

  #judge(result: SeenResult, refusal: unknown): void {
    const { report } = this.#parts
    // A result that fails by its own words is a good one.
    if (refusal === undefined || result.success === false) report.holds('invoke.result')
    else report.broken('invoke.result', `${wordsOf(refusal)}: ${clipped(result.text)}`)
  }

  #unanswered(refusal: unknown): void {
    const { device, report } = this.#parts
    if (refusal === undefined && device.registration?.invoke === 'http') {
      report.holds('invoke.answered')
      report.holds('invoke.result')
      for (const clause of ['invoke.result-qos', 'invoke.once', 'invoke.error', 'invoke.fence'] as const)
        report.notTried(clause, 'it is an HTTP server, which the check does not look into')
      return
    }
    report.broken(
      'invoke.answered',
      `did not answer within ${DEADLINE_SECONDS} seconds (${wordsOf(refusal)})`,
    )
  }

  /** Brings the same message a second time, as MQTT does at QoS 1 after a loss. */
  async #again(first: SeenResult): Promise<void> {
    const { device, report, watch, waits } = this.#parts
    const { live, lastInvoke } = device
    if (live === undefined || lastInvoke === undefined) return
    const before = device.results.length
    live.connection.inject(device.topic('invoke'), lastInvoke, true)
    await watch.until(() => device.results.length > before, waits.repeatMs)
    const second = device.results
      .slice(before)
      .find(({ invocationId }) => invocationId === first.invocationId)
    if (second === undefined || sameData(first, second)) report.holds('invoke.once')
    else
      report.broken(
        'invoke.once',
        `did it again: first ${clipped(first.text)}, then ${clipped(second.text)}; remember the last few invocationIds`,
      )
  }

  async #wrong(chosen: Chosen): Promise<void> {
    const { report } = this.#parts
    const params = wrongParams(chosen.described?.input)
    if (params === undefined) {
      report.notTried(
        'invoke.error',
        `${chosen.command} has no \`input\` with a type, so nothing is known to be wrong`,
      )
      return
    }
    const result = await this.#invoke(chosen, params, true)
    if (result === undefined) return
    const { error } = parsed(result.text) as { error?: unknown }
    if (result.success === false && typeof error === 'string' && error.trim() !== '')
      report.holds('invoke.error')
    else
      report.broken(
        'invoke.error',
        `was invoked with ${clipped(JSON.stringify(params))}, and answered ${clipped(result.text)}`,
      )
  }

  async #oldFence(chosen: Chosen, params: unknown): Promise<void> {
    const { device, report, watch, waits } = this.#parts
    if (chosen.capability.authLevel !== 'leased') {
      report.notTried('invoke.fence', `${chosen.command} is not \`leased\`; --command names one that is`)
      return
    }
    if ((await this.#invoke(chosen, params)) === undefined) return
    const { live, lastInvoke } = device
    const newest = parsed(lastInvoke?.toString('utf8') ?? '') as { fence?: number } | undefined
    if (live === undefined || newest?.fence === undefined) return
    const invocationId = newId('iv_')
    const late = { ...newest, invocationId, fence: newest.fence - 1 }
    live.connection.inject(device.topic('invoke'), Buffer.from(JSON.stringify(late)), false)
    const answer = () => device.results.find((result) => result.invocationId === invocationId)
    await watch.until(() => answer() !== undefined, waits.answerMs)
    const result = answer()
    if (result?.success === false) report.holds('invoke.fence')
    else if (result === undefined)
      report.broken(
        'invoke.fence',
        `said nothing to fence ${late.fence} after ${newest.fence}: answer that the lease has ended`,
      )
    else
      report.broken(
        'invoke.fence',
        `did it with fence ${late.fence} after ${newest.fence}: its lease had ended`,
      )
  }
}

function wordsOf(error: unknown): string {
  if (error instanceof RefusedByBridge) return `${error.body.code}: ${error.body.message}`
  return error instanceof Error ? error.message : 'no answer'
}

function sameData(first: SeenResult, second: SeenResult): boolean {
  const dataOf = ({ text }: SeenResult) =>
    JSON.stringify((parsed(text) as { data?: unknown } | undefined)?.data)
  return first.success === second.success && dataOf(first) === dataOf(second)
}
