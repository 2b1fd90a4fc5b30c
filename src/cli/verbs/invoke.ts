import { escapeText } from '../../kernel/escape-text.ts'
import type { CliContext } from '../context.ts'
import type { Bridge } from '../session/session.ts'
import type { DisplayRow } from '../terminal/presentation.ts'
import { print } from '../terminal/text.ts'
import { ApprovalWatch } from './invocation-progress.ts'

/** `invoke`: standard error says what the call waits for, and how to approve one that waits for a person. */
export async function invokeWithProgress(
  world: CliContext,
  bridge: Bridge,
  principal: string,
  args: DisplayRow,
): Promise<unknown> {
  const approvals = new ApprovalWatch(world.clock, principal)
  await approvals.followNew(bridge)
  let last = ''
  const stop = approvals.track(args, (_seconds, message) => {
    if (message === last) return
    last = message
    print(world.io.stderr, escapeText(message))
  })
  try {
    return await bridge.request('invoke', args)
  } finally {
    stop()
  }
}
