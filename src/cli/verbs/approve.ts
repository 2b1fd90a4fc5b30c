import { mixedAlphabets } from '../../kernel/confusables.ts'
import type { CliContext } from '../context.ts'
import { usageError } from '../exit.ts'
import { allPages } from '../session/paging.ts'
import type { Bridge } from '../session/session.ts'
import { type Choice, chooseOne, insistOnYes } from '../terminal/choose.ts'
import {
  addsText,
  capabilitiesText,
  type DisplayRow,
  loosensText,
  requestColumns,
} from '../terminal/presentation.ts'
import { type Conversation, conversation, isInteractive } from '../terminal/questions.ts'
import { age, pairs, print, shown, spokenCode, table } from '../terminal/text.ts'

/** `pairing approve` without a request: shows what is pending, with codes, and asks. */

const CHOICE: Choice = {
  names: 'number, request or node',
  keys: ['requestId', 'nodeId'],
  plural: 'requests',
  nothing: 'nothing was approved',
}

/** The request that was looked at; the revision makes sure that nothing else is approved. */
export interface Chosen {
  readonly requestId: string
  readonly revision: number
}

export async function chooseRequest(world: CliContext, bridge: Bridge): Promise<Chosen | undefined> {
  const { io, clock } = world
  const list = await allPages(bridge, 'pairing/list')
  const items = [...list.items].sort(oldestFirst)
  if (items.length === 0) {
    print(io.stdout, 'Nothing is pending.')
    return undefined
  }
  const numbered = [
    { title: '#', value: (row: DisplayRow) => items.indexOf(row) + 1 },
    ...requestColumns(clock.wallMs()),
  ]
  print(io.stdout, table(numbered, items))
  if (!isInteractive(io)) {
    throw usageError('say which one: `limb-bridge pairing approve CODE`, with the code that the device shows')
  }
  const questions = conversation(io)
  try {
    const request = await chooseOne(questions, items, CHOICE)
    await confirm(world, questions, request)
    return chosen(request)
  } finally {
    questions.close()
  }
}

function chosen(request: DisplayRow): Chosen {
  return { requestId: shown(request.requestId), revision: Number(request.revision) }
}

function oldestFirst(a: DisplayRow, b: DisplayRow): number {
  return shown(a.requestedAt) < shown(b.requestedAt) ? -1 : 1
}

async function confirm(world: CliContext, questions: Conversation, request: DisplayRow): Promise<void> {
  const { io, clock } = world
  print(
    io.stdout,
    `\n${pairs([
      ['node', request.nodeId],
      ['name', request.displayName],
      ['platform', request.platform],
      ['firmware', request.firmware],
      ['capabilities', capabilitiesText(request.capabilities)],
      ['adds', addsText(request.adds)],
      ['loosens', loosensText(request.loosens)],
      ['from', request.address],
      ['asked', age(request.requestedAt, clock.wallMs())],
    ])}`,
  )
  for (const warning of warnings(request)) print(io.stdout, warning)
  const code = spokenCode(request.code)
  const question =
    code === ''
      ? `Approve these capabilities of ${shown(request.nodeId)}?`
      : `Does the device show code ${code}?`
  await insistOnYes(
    questions,
    question,
    `nothing was approved; to refuse it: \`limb-bridge pairing reject ${shown(request.requestId)}\``,
  )
}

function warnings(request: DisplayRow): string[] {
  const node = shown(request.nodeId)
  const alphabets = mixedAlphabets(shown(request.displayName))
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
  ]
}
