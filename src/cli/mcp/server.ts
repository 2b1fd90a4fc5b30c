import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js'
import { type Role, roleReaches } from '../../protocol/names.ts'
import type { World } from '../context.ts'
import type { Bridge } from '../session/session.ts'
import { Approvals, type Tell } from '../verbs/call-progress.ts'
import { failureOf } from './failures.ts'
import { withoutImages } from './images.ts'
import { TOOLS, type Tool, type Values } from './tools.ts'

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
export async function serveMcp(world: World, served: Served): Promise<void> {
  // Loaded when needed: no other command has a use for it.
  const { Server } = await import('@modelcontextprotocol/sdk/server/index.js')
  const { StdioServerTransport } = await import('@modelcontextprotocol/sdk/server/stdio.js')
  const types = await import('@modelcontextprotocol/sdk/types.js')
  const tools = TOOLS.filter((tool) => roleReaches(served.role, tool.role))
  const approvals = new Approvals(world.clock, served.principal)
  await approvals.follow(served.bridge)

  const server = new Server(
    { name: 'limb-bridge', version: world.version },
    {
      capabilities: { tools: {} },
      instructions: served.role === 'viewer' ? INSTRUCTIONS_OF_VIEWER : INSTRUCTIONS,
    },
  )
  server.setRequestHandler(types.ListToolsRequestSchema, () => ({ tools: tools.map(shownTool) }))
  server.setRequestHandler(types.CallToolRequestSchema, async ({ params }, extra) => {
    const tool = tools.find((each) => each.name === params.name)
    if (!tool) throw new types.McpError(types.ErrorCode.InvalidParams, `there is no tool ${params.name}`)
    const token = params._meta?.progressToken
    const tell: Tell = (progress, message) => {
      if (token === undefined) return
      const notification = { progressToken: token, progress, message }
      // A client that has gone needs no progress.
      extra
        .sendNotification({ method: 'notifications/progress', params: notification })
        .catch(() => undefined)
    }
    return await callTool(served.bridge, approvals, tool, params.arguments ?? {}, tell, extra.signal)
  })

  const ended = untilEnded(world)
  await server.connect(new StdioServerTransport(world.io.stdin as never, world.io.stdout as never))
  await ended
  await server.close()
}

function shownTool({ name, title, description, inputSchema, outputSchema, annotations }: Tool) {
  return { name, title, description, inputSchema, outputSchema, annotations }
}

async function callTool(
  bridge: Bridge,
  approvals: Approvals,
  tool: Tool,
  args: Values,
  tell: Tell,
  signal: AbortSignal,
): Promise<CallToolResult> {
  let done = () => {}
  try {
    const request = tool.request(args)
    if (request.verb === 'invoke') done = approvals.track(request.args, tell)
    const data = (await bridge.request(request.verb, request.args, signal)) as Values
    const { value, images } = withoutImages(tool.result(args, data))
    return {
      content: [{ type: 'text', text: JSON.stringify(value) }, ...images],
      structuredContent: value,
    }
  } catch (error) {
    const failure = failureOf(error)
    if (!failure) throw error
    return { isError: true, content: [{ type: 'text', text: JSON.stringify(failure) }] }
  } finally {
    done()
  }
}

/** A client ends a server by closing its standard input; the SDK's transport does not look at that. */
function untilEnded(world: World): Promise<void> {
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
