import { escapeJson } from '../../kernel/escape-text.ts'
import type { CliContext, OutputStream } from '../context.ts'
import { RefusedByBridge, usageError } from '../exit.ts'
import { allPages } from '../session/paging.ts'
import type { Bridge } from '../session/session.ts'
import { type Choice, chooseOne, insistOnYes } from '../terminal/choose.ts'
import { asRow, type DisplayRow } from '../terminal/presentation.ts'
import { type Conversation, conversation, isInteractive } from '../terminal/questions.ts'
import { age, displayWidth, pairs, print, shown } from '../terminal/text.ts'

/** `invocation approve` and `invocation deny` without a call: show the gated calls that wait, and ask. */

export type ApprovalDecision = 'approve' | 'deny'

export interface WantedDecision {
  readonly decision: ApprovalDecision
  /** The text of `--reason`. */
  readonly reason: string | undefined
  /** The person has said yes beforehand. */
  readonly sure: boolean
}

/** The approval that was looked at; the hash makes sure that nothing else is decided. */
export interface Decided {
  readonly invocationId: string
  readonly paramsHash?: string
  readonly reason?: string
}

/** Calls that are shown with their params; nobody reads more at once, and each is a request. */
const MAX_CALLS = 50
/** Lines of params in the list, and where one call is decided. */
const LIST_LINES = 12
const FULL_LINES = 200
const DEFAULT_COLUMNS = 80
const MIN_COLUMNS = 20
const MARGIN = '  | '

export async function decideWaiting(
  world: CliContext,
  bridge: Bridge,
  wanted: WantedDecision,
): Promise<Decided | undefined> {
  const { decision } = wanted
  const { io } = world
  const calls = await waitingCalls(io.stderr, bridge)
  if (calls.length === 0) {
    print(io.stdout, 'No call waits for an approval.')
    return undefined
  }
  for (const [i, call] of calls.entries()) {
    print(io.stdout, `#${i + 1}\n${callText(world, call, LIST_LINES)}`)
  }
  if (!isInteractive(io)) throw usageError(`say which one: \`limb-bridge invocation ${decision} CALL\``)
  const questions = conversation(io)
  try {
    const nothing = decision === 'approve' ? 'nothing was approved' : 'nothing was denied'
    const call = await chooseOne(questions, calls, choice(nothing))
    return await decide(world, questions, wanted, call, nothing)
  } finally {
    questions.close()
  }
}

function choice(nothing: string): Choice {
  return {
    names: 'number, call, limb or principal',
    keys: ['invocationId', 'nodeId', 'principal'],
    plural: 'calls',
    nothing,
  }
}

async function decide(
  world: CliContext,
  questions: Conversation,
  { decision, reason: given, sure }: WantedDecision,
  call: DisplayRow,
  nothing: string,
): Promise<Decided> {
  const id = shown(call.invocationId)
  print(world.io.stdout, `\n${callText(world, call, FULL_LINES)}`)
  const question =
    decision === 'approve'
      ? `Let ${shown(call.principal)} run ${shown(call.command)} on ${shown(call.nodeId)} with these params, once?`
      : `Refuse ${shown(call.command)} on ${shown(call.nodeId)} to ${shown(call.principal)}?`
  const other = decision === 'approve' ? `; to refuse it: \`limb-bridge invocation deny ${id}\`` : ''
  if (!sure) await insistOnYes(questions, question, nothing + other)
  const asked =
    decision === 'deny' && given === undefined && !sure
      ? await questions.ask('Why? (the caller is told; Enter for no reason) ')
      : ''
  const reason = given ?? (asked === '' ? undefined : asked)
  return {
    invocationId: id,
    // `deny` has no use for it: refusing something else than what was looked at harms nobody.
    ...(decision === 'approve' ? { paramsHash: shown(call.paramsHash) } : {}),
    ...(reason === undefined ? {} : { reason }),
  }
}

/** Oldest first, each with its params. */
async function waitingCalls(stderr: OutputStream, bridge: Bridge): Promise<DisplayRow[]> {
  const list = await allPages(bridge, 'invocation/list', { state: 'waiting', order: 'oldest' })
  const calls: DisplayRow[] = []
  for (const { invocationId } of list.items.slice(0, MAX_CALLS)) {
    const call = await waitingCall(bridge, invocationId)
    if (call) calls.push(call)
  }
  const more = list.items.length - MAX_CALLS
  if (more > 0) print(stderr, `${more} more wait; decide these, or see \`invocation list --state waiting\`.`)
  return calls
}

/** Nothing when somebody has decided it meanwhile. */
async function waitingCall(bridge: Bridge, invocationId: unknown): Promise<DisplayRow | undefined> {
  try {
    const call = asRow(await bridge.request('invocation/get', { invocationId }))
    return call.state === 'waiting' ? call : undefined
  } catch (error) {
    if (error instanceof RefusedByBridge && error.body.code === 'not_found') return undefined
    throw error
  }
}

function callText({ io, clock }: CliContext, call: DisplayRow, maxLines: number): string {
  const now = clock.wallMs()
  const head = pairs([
    ['call', call.invocationId],
    ['principal', call.principal],
    ['limb', call.nodeId],
    ['command', call.command],
    ['capability', call.capability],
    ['asked', `${age(call.createdAt, now)}${call.callerAway === true ? '; the caller is away now' : ''}`],
    ['expires', age(call.expiresAt, now)],
  ])
  const columns = Math.max(MIN_COLUMNS, io.stdout.columns || DEFAULT_COLUMNS)
  return `${head}params:\n${paramsText(call, columns, maxLines)}`
}

/**
 * Every line on the terminal begins with a margin: without breaking lines here, the terminal would, and params full
 * of spaces could pretend to be a line of the dialogue.
 */
function paramsText(call: DisplayRow, columns: number, maxLines: number): string {
  const lines: string[] = []
  let whole = true
  for (const line of JSON.stringify(call.params ?? {}, null, 2).split('\n')) {
    whole = addBroken(lines, escapeJson(line), columns - MARGIN.length - 1, maxLines)
    if (!whole) break
  }
  const text = lines.map((line) => `${MARGIN}${line}\n`).join('')
  if (whole) return text
  const command = `limb-bridge invocation get ${shown(call.invocationId)} --json`
  return `${text}CAREFUL: the params are longer than this. All of them: \`${command}\`\n`
}

/** Adds a line, broken where it is too long, and returns whether all of it found room. */
function addBroken(lines: string[], line: string, width: number, maxLines: number): boolean {
  let part = ''
  let partWidth = 0
  for (const char of line) {
    const charWidth = displayWidth(char)
    if (partWidth + charWidth > width) {
      if (lines.length >= maxLines) return false
      lines.push(part)
      part = ''
      partWidth = 0
    }
    part += char
    partWidth += charWidth
  }
  if (lines.length >= maxLines) return false
  lines.push(part)
  return true
}
