import type { McpServerFactory } from '@modelcontextprotocol/server'
import { type Role, roleReaches } from '../../protocol/names.ts'
import type { CliContext } from '../context.ts'
import type { Bridge } from '../session/session.ts'
import { ApprovalWatch, type ReportProgress } from '../verbs/invocation-progress.ts'
import { ToolCalls } from './tool-calls.ts'
import { type McpTool, TOOLS } from './tools.ts'

/** The MCP server: tools in, requests to the bridge out. */

const INSTRUCTIONS = [
  'Limbs are devices: cameras, robots, sensors, locks. List what is at hand with limb_list_available, then call',
  'limb_invoke with a nodeId (or only a capability) and a command. What you call may move real things. The policy of',
  'the bridge decides; when a call is gated, a person approves it while you wait. An error has a code, a message and',
  '`next`, which says what to do.',
].join(' ')

/** For a principal that is offered no more than that. */
const INSTRUCTIONS_OF_VIEWER = [
  'Limbs are devices: cameras, robots, sensors, locks. You may look at them with limb_list_available, and at those that',
  'ask to be paired with limb_pair_list; this principal may not use them. An error has a code, a message and `next`,',
  'which says what to do.',
].join(' ')

export interface Served {
  readonly bridge: Bridge
  readonly principal: string
  readonly role: Role
}

/** Serves until the client has gone, or Ctrl-C. */
export async function serveMcp(world: CliContext, served: Served): Promise<void> {
  // Loaded when needed: no other command, and not the service, has a use for it.
  const { serveStdio, StdioServerTransport } = await import('@modelcontextprotocol/server/stdio')
  const approvals = new ApprovalWatch(world.clock, served.principal)
  await approvals.follow(served.bridge)
  const calls = new ToolCalls({ ...served, approvals, clock: world.clock })
  const serverFactory = await serversFor(world, served, calls)
  const ended = untilEnded(world)
  const transport = new StdioServerTransport(world.io.stdin as never, world.io.stdout as never)
  const server = serveStdio(serverFactory, { transport })
  await ended
  await calls.stop()
  await server.close()
}

/** Makes the factory of servers; the SDK makes one for the revision of the protocol that the client opens with. */
async function serversFor(world: CliContext, served: Served, calls: ToolCalls): Promise<McpServerFactory> {
  const { Server, ProtocolError, ProtocolErrorCode } = await import('@modelcontextprotocol/server')
  const tools = TOOLS.filter((tool) => roleReaches(served.role, tool.role))
  const instructions = served.role === 'viewer' ? INSTRUCTIONS_OF_VIEWER : INSTRUCTIONS
  return () => {
    const about = { name: 'limb-bridge', version: world.version }
    const server = new Server(about, { capabilities: { tools: {} }, instructions })
    server.setRequestHandler('tools/list', () => ({ tools: tools.map(shownTool) }))
    server.setRequestHandler('tools/call', async ({ params }, { mcpReq }) => {
      const tool = tools.find((each) => each.name === params.name)
      if (!tool) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `there is no tool ${params.name}`)
      const token = params._meta?.progressToken
      const tell: ReportProgress = (progress, message) => {
        if (token === undefined) return
        const notification = { progressToken: token, progress, message }
        // A client that has gone needs no progress.
        mcpReq.notify({ method: 'notifications/progress', params: notification }).catch(() => undefined)
      }
      return await calls.run(tool, params.arguments ?? {}, tell, mcpReq.signal)
    })
    return server
  }
}

function shownTool({ name, title, description, inputSchema, outputSchema, annotations }: McpTool) {
  return { name, title, description, inputSchema, outputSchema, annotations }
}

/** A client ends a server by closing its standard input; the SDK's transport does not look at that. */
function untilEnded(world: CliContext): Promise<void> {
  return new Promise((resolve) => {
    const off = world.io.onInterrupt(finish)
    function finish() {
      off()
      resolve()
    }
    world.io.stdin.once('end', finish)
    world.io.stdin.once('close', finish)
    world.io.stdout.once('error', finish)
  })
}
