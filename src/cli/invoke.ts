import { visible } from '../kernel/visible.ts'
import { Approvals } from './call-progress.ts'
import type { Bridge } from './connection.ts'
import type { World } from './parts.ts'
import type { Row } from './presentation.ts'
import { print } from './text.ts'

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
