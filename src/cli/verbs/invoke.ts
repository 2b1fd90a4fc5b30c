import { escapeText } from '../../kernel/escape-text.ts'
import { newId } from '../../kernel/secrets.ts'
import { ApprovalWatch } from '../../mcp/approval-watch.ts'
import type { CliContext } from '../context.ts'
import { CliError, EXIT } from '../exit.ts'
import type { Bridge } from '../session/session.ts'
import { type TakenBack, takeBack } from '../session/take-back.ts'
import type { DisplayRow } from '../terminal/presentation.ts'
import { print } from '../terminal/text.ts'

/** The time to wait for the bridge after Ctrl-C; the end of the session takes back what has no key in any case. */
const TAKE_BACK_MS = 3000

const INTERRUPTED: Readonly<Record<TakenBack, string>> = {
  cancelled: 'interrupted: the invocation is cancelled, it did not run',
  sent: 'interrupted: the limb has the invocation already, and nothing can stop it; `limb-bridge invocation list` shows how it ends',
  unknown:
    'interrupted: the bridge has no such invocation that waits; `limb-bridge invocation list` shows whether it ran',
}

/**
 * `invoke`: standard error says what the invocation waits for, and how to approve one that waits for a person. Ctrl-C
 * takes it back.
 */
export async function invokeWithProgress(
  context: CliContext,
  bridge: Bridge,
  principal: string,
  args: DisplayRow,
): Promise<unknown> {
  const approvals = new ApprovalWatch(context.clock, principal)
  await approvals.followNew(bridge)
  const transaction = newId('')
  const interrupted = new AbortController()
  const ignoreSignals = context.io.onInterrupt(() => interrupted.abort())
  let last = ''
  const stop = approvals.track(args, transaction, (_seconds, message) => {
    if (message === last) return
    last = message
    print(context.io.stderr, escapeText(message))
  })
  try {
    return await bridge.request('invoke', args, interrupted.signal, transaction)
  } catch (error) {
    if (!interrupted.signal.aborted) throw error
    const what = await takenBackInTime(context, bridge, principal, transaction)
    throw new CliError(EXIT.interrupted, INTERRUPTED[what])
  } finally {
    ignoreSignals()
    stop()
  }
}

async function takenBackInTime(
  { clock }: CliContext,
  bridge: Bridge,
  principal: string,
  transaction: string,
): Promise<TakenBack> {
  let cancel = () => {}
  const late = new Promise<TakenBack>((resolve) => {
    cancel = clock.after(TAKE_BACK_MS, () => resolve('unknown'))
  })
  const taken = takeBack(bridge, clock, principal, transaction).catch((): TakenBack => 'unknown')
  return Promise.race([taken, late]).finally(() => cancel())
}
