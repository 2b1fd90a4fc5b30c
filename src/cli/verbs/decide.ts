import { escapeJson } from '../../kernel/escape-text.ts'
import type { CliContext, OutputStream } from '../context.ts'
import { RefusedByBridge, usageError } from '../exit.ts'
import { allPages } from '../session/paging.ts'
import type { Bridge } from '../session/session.ts'
import { type Choice, chooseOne, insistOnYes } from '../terminal/choose.ts'
import { asRow, type DisplayRow } from '../terminal/presentation.ts'
import { type Conversation, conversation, isInteractive } from '../terminal/questions.ts'
import { age, displayWidth, pairs, print, shown } from '../terminal/text.ts'

/** `invocation approve` and `invocation deny` without an invocation: show the gated invocations that wait, and ask. */

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

/** Invocations that are shown with their params; nobody reads more at once, and each is a request. */
const MAX_CALLS = 50
/** Lines of params in the list, and where one invocation is decided. */
const LIST_LINES = 12
const FULL_LINES = 200
const DEFAULT_COLUMNS = 80
const MIN_COLUMNS = 20
const MARGIN = '  | '

export async function decideWaiting(
  context: CliContext,
  bridge: Bridge,
  wanted: WantedDecision,
): Promise<Decided | undefined> {
  const { decision } = wanted
  const { io } = context
  const invocations = await waitingInvocations(io.stderr, bridge)
  if (invocations.length === 0) {
    print(io.stdout, 'No invocation waits for an approval.')
    return undefined
  }
  for (const [i, invocation] of invocations.entries()) {
    print(io.stdout, `#${i + 1}\n${invocationText(context, invocation, LIST_LINES)}`)
  }
  if (!isInteractive(io)) throw usageError(`say which one: \`limb-bridge invocation ${decision} INVOCATION\``)
  const questions = conversation(io)
  try {
    const nothing = decision === 'approve' ? 'nothing was approved' : 'nothing was denied'
    const invocation = await chooseOne(questions, invocations, choice(nothing))
    return await decide(context, questions, wanted, invocation, nothing)
  } finally {
    questions.close()
  }
}

function choice(nothing: string): Choice {
  return {
    names: 'number, invocation, limb or principal',
    keys: ['invocationId', 'nodeId', 'principal'],
    plural: 'invocations',
    nothing,
  }
}

async function decide(
  context: CliContext,
  questions: Conversation,
  { decision, reason: given, sure }: WantedDecision,
  invocation: DisplayRow,
  nothing: string,
): Promise<Decided> {
  const id = shown(invocation.invocationId)
  print(context.io.stdout, `\n${invocationText(context, invocation, FULL_LINES)}`)
  const question =
    decision === 'approve'
      ? `Let ${shown(invocation.principal)} run ${shown(invocation.command)} on ${shown(invocation.nodeId)} with these params, once?`
      : `Refuse ${shown(invocation.command)} on ${shown(invocation.nodeId)} to ${shown(invocation.principal)}?`
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
    ...(decision === 'approve' ? { paramsHash: shown(invocation.paramsHash) } : {}),
    ...(reason === undefined ? {} : { reason }),
  }
}

/** Oldest first, each with its params. */
async function waitingInvocations(stderr: OutputStream, bridge: Bridge): Promise<DisplayRow[]> {
  const list = await allPages(bridge, 'invocation/list', { state: 'waiting', order: 'oldest' })
  const invocations: DisplayRow[] = []
  for (const { invocationId } of list.items.slice(0, MAX_CALLS)) {
    const invocation = await waitingInvocation(bridge, invocationId)
    if (invocation) invocations.push(invocation)
  }
  const more = list.items.length - MAX_CALLS
  if (more > 0) print(stderr, `${more} more wait; decide these, or see \`invocation list --state waiting\`.`)
  return invocations
}

/** Nothing when somebody has decided it meanwhile. */
async function waitingInvocation(bridge: Bridge, invocationId: unknown): Promise<DisplayRow | undefined> {
  try {
    const invocation = asRow(await bridge.request('invocation/get', { invocationId }))
    return invocation.state === 'waiting' ? invocation : undefined
  } catch (error) {
    if (error instanceof RefusedByBridge && error.body.code === 'not_found') return undefined
    throw error
  }
}

function invocationText({ io, clock }: CliContext, invocation: DisplayRow, maxLines: number): string {
  const now = clock.wallMs()
  const head = pairs([
    ['invocation', invocation.invocationId],
    ['principal', invocation.principal],
    ['limb', invocation.nodeId],
    ['command', invocation.command],
    ['capability', invocation.capability],
    [
      'asked',
      `${age(invocation.createdAt, now)}${invocation.callerAway === true ? '; the caller is away now' : ''}`,
    ],
    ['expires', age(invocation.expiresAt, now)],
  ])
  const columns = Math.max(MIN_COLUMNS, io.stdout.columns || DEFAULT_COLUMNS)
  return `${head}params:\n${paramsText(invocation, columns, maxLines)}`
}

/**
 * Every line on the terminal begins with a margin: without breaking lines here, the terminal would, and params full
 * of spaces could pretend to be a line of the dialogue.
 */
function paramsText(invocation: DisplayRow, columns: number, maxLines: number): string {
  const lines: string[] = []
  let whole = true
  for (const line of JSON.stringify(invocation.params ?? {}, null, 2).split('\n')) {
    whole = addBroken(lines, escapeJson(line), columns - MARGIN.length - 1, maxLines)
    if (!whole) break
  }
  const text = lines.map((line) => `${MARGIN}${line}\n`).join('')
  if (whole) return text
  const command = `limb-bridge invocation get ${shown(invocation.invocationId)} --json`
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
