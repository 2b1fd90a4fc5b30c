import { visible } from '../../kernel/escape-text.ts'
import type { World } from '../context.ts'
import type { Bridge } from '../session/session.ts'
import type { Row } from '../terminal/presentation.ts'
import { print } from '../terminal/text.ts'
import { Approvals } from './call-progress.ts'

/** `invoke`: standard error says what the call waits for, and how to approve one that waits for a person. */
export async function invokeTelling(
  world: World,
  bridge: Bridge,
  principal: string,
  args: Row,
): Promise<unknown> {
  const approvals = new Approvals(world.clock, principal)
  await approvals.followNew(bridge)
  let last = ''
  const stop = approvals.track(args, (_seconds, message) => {
    if (message === last) return
    last = message
    print(world.io.stderr, visible(message))
  })
  try {
    return await bridge.request('invoke', args)
  } finally {
    stop()
  }
}
