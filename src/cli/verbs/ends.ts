import type { VerbName } from '../../protocol/verbs.ts'
import type { CliContext } from '../context.ts'
import { RefusedByBridge } from '../exit.ts'
import type { Bridge } from '../session/session.ts'
import { insistOnYes } from '../terminal/choose.ts'
import { asRow, type DisplayRow } from '../terminal/presentation.ts'
import { conversation, isInteractive } from '../terminal/questions.ts'
import { print, shown, widthOf, wrapped } from '../terminal/text.ts'

/** Verbs that end something: on a terminal they say what follows, and ask, unless `--yes` says it beforehand. */

interface Ending {
  /** Says what follows, and how it is taken back. */
  follows(args: DisplayRow, node: DisplayRow | undefined): string
  question(args: DisplayRow): string
  readonly nothing: string
  /** True if what is known of the limb is worth a look first. */
  readonly aboutLimb?: true
}

const ENDINGS: Partial<Record<VerbName, Ending>> = {
  'node/revoke': {
    aboutLimb: true,
    follows: ({ nodeId }, node) => {
      const name =
        node?.displayName === undefined ? '' : ` (${shown(node.displayName)}, ${shown(node.status)})`
      return `${shown(nodeId)}${name} is told that it is rejected, and its session ends. Its policies, its retained data and what waits for it are deleted. Its key is refused for a while (\`pairing.rejectedSeconds\`, a day unless set); \`limb-bridge pairing forgive ${shown(nodeId)}\` lets its device ask again at once, and it must be approved anew then.`
    },
    question: ({ nodeId }) => `Revoke ${shown(nodeId)}?`,
    nothing: 'nothing was revoked',
  },
  'principal/remove': {
    follows: ({ name }) =>
      `The sessions, policies, leases and tokens of ${shown(name)} end. Nothing brings them back: added again, it has another password and no policy.`,
    question: ({ name }) => `Remove ${shown(name)}?`,
    nothing: 'nothing was removed',
  },
}

/** Throws CliError when the person says no. Without a terminal nobody can be asked: a script means what it says. */
export async function askBeforeEnd(
  context: CliContext,
  bridge: Bridge,
  verb: VerbName,
  args: DisplayRow,
): Promise<void> {
  const ending = ENDINGS[verb]
  if (ending === undefined || !isInteractive(context.io)) return
  const node = ending.aboutLimb ? await nodeNow(bridge, args.nodeId) : undefined
  await askWhether(context, ending.follows(args, node), ending.question(args), ending.nothing)
}

/** Asks before requests are rejected: one of them may be that of the right device. */
export async function askBeforeReject(context: CliContext, requests: readonly DisplayRow[]): Promise<void> {
  if (!isInteractive(context.io) || requests.length === 0) return
  const names = requests.map((row) => shown(row.nodeId)).join(', ')
  const follows = `What the ${requests.length === 1 ? 'request' : 'requests'} of ${names} came with is refused for a while (\`pairing.rejectedSeconds\`, a day unless set): a device cannot connect with its key, and a limb that asked for more keeps what it has. \`limb-bridge pairing forgive NODE\` lifts it.`
  const question =
    requests.length === 1 ? `Reject the request of ${names}?` : `Reject these ${requests.length}?`
  await askWhether(context, follows, question, 'nothing was rejected')
}

async function askWhether(
  context: CliContext,
  follows: string,
  question: string,
  nothing: string,
): Promise<void> {
  print(context.io.stdout, wrapped(follows, widthOf(context.io)).join('\n'))
  const questions = conversation(context.io)
  try {
    await insistOnYes(questions, question, nothing)
  } finally {
    questions.close()
  }
}

/** Nobody is asked about a limb that is not there. What else keeps it from being looked at keeps nobody from ending it. */
async function nodeNow(bridge: Bridge, nodeId: unknown): Promise<DisplayRow | undefined> {
  try {
    return asRow(await bridge.request('node/get', { nodeId }))
  } catch (error) {
    if (error instanceof RefusedByBridge && error.body.code !== 'not_found') return undefined
    throw error
  }
}
