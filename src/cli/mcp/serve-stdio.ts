import { within } from '../../kernel/semaphore.ts'
import { ApprovalWatch } from '../../mcp/approval-watch.ts'
import { ListenedResources } from '../../mcp/listened-resources.ts'
import { mcpServers } from '../../mcp/server.ts'
import { serveByLines } from '../../mcp/stdio.ts'
import { ToolCalls } from '../../mcp/tool-calls.ts'
import type { Role } from '../../protocol/names.ts'
import type { CliContext } from '../context.ts'
import type { Bridge } from '../session/session.ts'
import { takeBack } from '../session/take-back.ts'
import { failureOfSession } from './failures.ts'
import { StdinMessages } from './stdin-messages.ts'

/** The MCP server on standard input and output. */

/** The time at the end in which the last answers must be written. */
const LAST_ANSWERS_MS = 1000

export interface Served {
  readonly bridge: Bridge
  readonly principal: string
  /** Returns the role; undefined while the bridge cannot say it. */
  readonly role: () => Promise<Role | undefined>
}

/** Serves until the client has gone and is answered, or Ctrl-C. */
export async function serveMcp(context: CliContext, { bridge, principal, role }: Served): Promise<void> {
  const { clock, version } = context
  const failureOf = failureOfSession
  const approvals = new ApprovalWatch(clock, principal)
  await approvals.follow(bridge)
  const calls = new ToolCalls({
    bridge,
    approvals,
    clock,
    failureOf,
    takeBack: async (transaction) => (await takeBack(bridge, clock, principal, transaction)) === 'cancelled',
  })
  const listened = new ListenedResources()
  const serverFactory = await mcpServers({ version, clock, bridge, calls, failureOf, role, listened })
  const messages = new StdinMessages(context.io.stdin, clock, (refused) => {
    context.io.stdout.write(`${JSON.stringify(refused)}\n`)
  })
  messages.onListen = (uris) => listened.add(uris)
  const ended = untilEnded(context, messages)
  const server = await serveByLines(serverFactory, messages.forSdk, context.io.stdout as never, (id) =>
    messages.answered(id),
  )
  await ended
  await calls.stop()
  messages.end()
  await within(clock, LAST_ANSWERS_MS, messages.finished)
  await server.close()
}

/** A client ends a server by closing its standard input: what it asked before is answered still. */
function untilEnded(context: CliContext, messages: StdinMessages): Promise<void> {
  return new Promise((resolve) => {
    const off = context.io.onInterrupt(finish)
    function finish() {
      off()
      resolve()
    }
    void messages.finished.then(finish)
    context.io.stdout.once('error', finish)
  })
}
