import { mixedAlphabets } from '../../kernel/confusables.ts'
import { type AuthLevel, LEVELS } from '../../protocol/names.ts'
import type { CliContext } from '../context.ts'
import { CliError, EXIT, usageError } from '../exit.ts'
import { allPages } from '../session/paging.ts'
import type { Bridge } from '../session/session.ts'
import { type Choice, chooseOne } from '../terminal/choose.ts'
import { asRow, type DisplayRow } from '../terminal/presentation.ts'
import { type Conversation, conversation, isInteractive } from '../terminal/questions.ts'
import { loosensText, requestsText, requestText } from '../terminal/requests.ts'
import { print, shown, spokenCode, widthOf } from '../terminal/text.ts'

/** The dialogue of `pairing approve`: shows what a request asks for, takes changes, and asks. */

const CHOICE: Choice = {
  names: 'number, code, request or node',
  keys: ['requestId', 'nodeId', 'code'],
  plural: 'requests',
  nothing: 'nothing was approved',
}

/** The request that was looked at, and what of it is approved otherwise; the revision makes sure that nothing else is. */
export type ChosenRequest = {
  readonly requestId: string
  readonly revision: number
} & ApprovalWords

export interface ApprovalWords {
  readonly displayName?: string
  readonly area?: string
  readonly levels?: Readonly<Record<string, string>>
}

/** `sure`: the person has said yes beforehand. */
export async function chooseRequest(
  context: CliContext,
  bridge: Bridge,
  sure: boolean,
): Promise<ChosenRequest | undefined> {
  const { io, clock } = context
  const list = await allPages(bridge, 'pairing/list')
  const items = [...list.items].sort(oldestFirst)
  if (items.length === 0) {
    print(io.stdout, 'Nothing is pending.')
    return undefined
  }
  print(io.stdout, requestsText(items, { nowMs: clock.wallMs(), width: widthOf(io), numbered: true }))
  if (!isInteractive(io)) {
    throw usageError('say which one: `limb-bridge pairing approve CODE`, with the code that the device shows')
  }
  const questions = conversation(io)
  try {
    const request = await chooseOne(questions, items, CHOICE)
    return { ...chosen(request), ...(await confirm(context, questions, request, sure)) }
  } finally {
    questions.close()
  }
}

/** Asks about requests that were named otherwise than by their codes. Returns what is approved otherwise, by the request. */
export async function confirmNamed(
  context: CliContext,
  requests: readonly DisplayRow[],
): Promise<ReadonlyMap<string, ApprovalWords>> {
  const answers = new Map<string, ApprovalWords>()
  const questions = conversation(context.io)
  try {
    for (const request of requests)
      answers.set(shown(request.requestId), await confirm(context, questions, request, false))
    return answers
  } finally {
    questions.close()
  }
}

function chosen(request: DisplayRow): { requestId: string; revision: number } {
  return { requestId: shown(request.requestId), revision: Number(request.revision) }
}

function oldestFirst(a: DisplayRow, b: DisplayRow): number {
  return shown(a.requestedAt) < shown(b.requestedAt) ? -1 : 1
}

async function confirm(
  context: CliContext,
  questions: Conversation,
  request: DisplayRow,
  sure: boolean,
): Promise<ApprovalWords> {
  const { io, clock } = context
  print(io.stdout, `\n${requestText(request, clock.wallMs(), widthOf(io))}`)
  for (const warning of warnings(request)) print(io.stdout, warning)
  if (sure) return {}
  print(io.stdout, '`c` changes its name, its area or its levels first.')
  let words: ApprovalWords = {}
  for (;;) {
    const answer = await questions.ask(`${questionOf(request)} [y/N] `)
    if (/^y(es)?$/i.test(answer)) return words
    if (!/^c(hange)?$/i.test(answer)) throw notApproved(request)
    words = await askWords(context, questions, request)
    print(io.stdout, wordsText(words))
  }
}

function questionOf(request: DisplayRow): string {
  const code = spokenCode(request.code)
  return code === ''
    ? `Approve these capabilities of ${shown(request.nodeId)}?`
    : `Does the device show code ${code}?`
}

function notApproved(request: DisplayRow): CliError {
  const reject = `\`limb-bridge pairing reject ${shown(request.requestId)}\``
  return new CliError(EXIT.refused, `nothing was approved; to refuse it: ${reject}`)
}

async function askWords(
  context: CliContext,
  questions: Conversation,
  request: DisplayRow,
): Promise<ApprovalWords> {
  const displayName = await questions.ask(`Its name? (Enter for ${shown(request.displayName)}) `)
  const area = await questions.ask('Its area? (Enter for none) ')
  const levels: Record<string, string> = {}
  const capabilities = Array.isArray(request.capabilities) ? request.capabilities.map(asRow) : []
  for (const capability of capabilities) {
    const level = await askLevel(context, questions, capability)
    if (level !== undefined) levels[shown(capability.cap)] = level
  }
  return {
    ...(displayName === '' ? {} : { displayName }),
    ...(area === '' ? {} : { area }),
    ...(Object.keys(levels).length === 0 ? {} : { levels }),
  }
}

/** The stricter levels alone: a looser one than a limb asks for is a policy, which is set after the approval. */
async function askLevel(
  { io }: CliContext,
  questions: Conversation,
  { cap, authLevel }: DisplayRow,
): Promise<string | undefined> {
  const stricter = LEVELS.slice(LEVELS.indexOf(authLevel as AuthLevel) + 1) as readonly string[]
  if (stricter.length === 0) return undefined
  for (;;) {
    const question = `Level of ${shown(cap)}? (${stricter.join(', ')}; Enter for ${shown(authLevel)}) `
    const answer = (await questions.ask(question)).toLowerCase()
    if (answer === '' || answer === authLevel) return undefined
    if (stricter.includes(answer)) return answer
    print(io.stdout, `It asks for ${shown(authLevel)}: give ${stricter.join(' or ')}, or Enter.`)
  }
}

function wordsText({ displayName, area, levels = {} }: ApprovalWords): string {
  const parts = [
    ...(displayName === undefined ? [] : [`called ${shown(displayName)}`]),
    ...(area === undefined ? [] : [`in ${shown(area)}`]),
    ...Object.entries(levels).map(([cap, level]) => `${shown(cap)} ${level}`),
  ]
  return parts.length === 0 ? 'It is approved as it asks.' : `It is approved with: ${parts.join(', ')}.`
}

function warnings(request: DisplayRow): string[] {
  const node = shown(request.nodeId)
  const alphabets = mixedAlphabets(shown(request.displayName))
  const loosens = loosensText(request.loosens)
  return [
    ...(alphabets.length > 0
      ? [
          `CAREFUL: the name mixes ${alphabets.join(' and ')} letters in one word; it may not be what it looks like.`,
        ]
      : []),
    ...(request.conflict === true
      ? [`CAREFUL: more than one device claims ${node}. Approving this one rejects the others.`]
      : []),
    ...(request.kind === 'replace'
      ? [`CAREFUL: ${node} is paired already. Approving replaces its key and ends its session.`]
      : []),
    ...(loosens === '' ? [] : [`CAREFUL: it may do more freely what it has already: ${loosens}.`]),
  ]
}
