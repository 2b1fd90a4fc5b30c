import type { VerbName } from '../../protocol/verbs.ts'
import type { CliContext } from '../context.ts'
import { RefusedByBridge, usageError } from '../exit.ts'
import { allPages } from '../session/paging.ts'
import type { Bridge } from '../session/session.ts'
import type { DisplayRow } from '../terminal/presentation.ts'
import { conversation, isInteractive } from '../terminal/questions.ts'
import { requestsText } from '../terminal/requests.ts'
import { print, widthOf } from '../terminal/text.ts'
import { type ApprovalWords, confirmNamed } from './approve.ts'
import { askBeforeReject } from './ends.ts'
import { type MeantRequest, requestsMeant } from './which-request.ts'

/** `pairing approve` and `pairing reject` of requests that were named, and `pairing permit` beside some that wait. */

/** The arguments that belong to one request alone. */
const OF_ONE = {
  revision: 'revision',
  code: 'code',
  displayName: 'display-name',
  area: 'area',
  levels: 'levels',
}

export interface NamedRequests {
  readonly verb: VerbName
  readonly words: readonly string[]
  /** The arguments beside them. */
  readonly args: DisplayRow
  /** The person has said yes beforehand. */
  readonly sure: boolean
}

/** One answer of the bridge, or `{items}` of several; what failed of several stands in its place as an error. */
export async function decideRequests(
  context: CliContext,
  bridge: Bridge,
  named: NamedRequests,
): Promise<unknown> {
  const { verb, words, args, sure } = named
  const asked = isInteractive(context.io) && !sure && args.revision === undefined
  const requests = await requestsMeant(bridge, words, asked)
  if (requests.length > 1) refuseOfOne(args)
  const changes = asked ? await confirmed(context, verb, requests, args) : new Map<string, ApprovalWords>()
  const decide = ({ requestId, revision }: MeantRequest) =>
    bridge.request(verb, {
      // What was given stands: a revision that somebody looked at is not replaced by what is there now. To reject
      // something else than what was looked at harms nobody, and only approving knows revisions.
      ...(verb === 'pairing/approve' && revision !== undefined ? { revision } : {}),
      ...changes.get(requestId),
      ...args,
      requestId,
    })
  const [only] = requests
  if (only !== undefined && requests.length === 1) return decide(only)
  const items: unknown[] = []
  for (const request of requests) items.push(await decide(request).catch((error) => failed(request, error)))
  return { items }
}

function refuseOfOne(args: DisplayRow): void {
  for (const [key, name] of Object.entries(OF_ONE))
    if (args[key] !== undefined) throw usageError(`--${name} is about one request; decide that one alone`)
}

function failed({ requestId, row }: MeantRequest, error: unknown): DisplayRow {
  if (!(error instanceof RefusedByBridge)) throw error
  return { requestId, ...(row === undefined ? {} : { nodeId: row.nodeId }), error: error.body }
}

async function confirmed(
  context: CliContext,
  verb: VerbName,
  requests: readonly MeantRequest[],
  { code }: DisplayRow,
): Promise<ReadonlyMap<string, ApprovalWords>> {
  if (verb === 'pairing/reject') {
    await askBeforeReject(context, rowsOf(requests))
    return new Map()
  }
  const unseen = rowsOf(requests.filter(({ byCode }) => !byCode && code === undefined))
  return unseen.length === 0 ? new Map() : confirmNamed(context, unseen)
}

function rowsOf(requests: readonly MeantRequest[]): DisplayRow[] {
  return requests.flatMap(({ row }) => (row === undefined ? [] : [row]))
}

/** Asks a person who has not said it whether an opened window shall take those that wait already. */
export async function takesWaiting(context: CliContext, bridge: Bridge, args: DisplayRow): Promise<boolean> {
  if (!isInteractive(context.io) || args.seconds === 0) return false
  const { items } = await allPages(bridge, 'pairing/list')
  const waiting = items.filter(
    ({ kind, conflict, nodeId }) =>
      kind === 'new' && conflict !== true && (args.nodeId === undefined || args.nodeId === nodeId),
  )
  if (waiting.length === 0) return false
  const { io, clock } = context
  print(io.stdout, requestsText(waiting, { nowMs: clock.wallMs(), width: widthOf(io) }))
  const questions = conversation(io)
  try {
    const many = waiting.length === 1 ? 'this one that waits' : `these ${waiting.length} that wait`
    return /^y(es)?$/i.test(await questions.ask(`Approve ${many} already too, without a comparison? [y/N] `))
  } finally {
    questions.close()
  }
}
