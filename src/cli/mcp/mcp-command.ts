import { type Command, Option } from 'commander'
import { ROLES, type Role } from '../../protocol/names.ts'
import type { VerbName } from '../../protocol/verbs.ts'
import { type Run, targetOptions, withExamples } from '../command-options.ts'
import type { CliContext } from '../context.ts'
import { RefusedByBridge } from '../exit.ts'
import { type Bridge, openBridge } from '../session/session.ts'
import { type ConnectionOptions, targetOfProgram } from '../session/target.ts'
import { serveMcp } from './server.ts'

/** `mcp`: limbs as tools for an AI agent, over standard input and output. */

interface McpOptions extends ConnectionOptions {
  readonly role?: Role
}

export function addMcpCommand(program: Command, world: CliContext, run: Run): void {
  const command = program
    .command('mcp')
    .summary('Serve limbs as tools to an AI agent (MCP over standard input and output).')
    .description(
      [
        'Serve limbs as tools to an AI agent: a Model Context Protocol server on standard input and output.',
        'Over the control socket it acts as --user (mcp) with --role (agent), which the bridge holds it to.',
      ].join(' '),
    )
  targetOptions(command)
  command.addOption(
    new Option('--role <role>', 'with the control socket: the role to act in; agent when absent').choices([
      ...ROLES,
    ]),
  )
  withExamples(command, [
    'limb-bridge mcp',
    'limb-bridge mcp --role operator                  offers limb_pair_approve too',
    'limb-bridge mcp --url mqtts://bridge.lan --user assistant --password-file assistant.txt',
  ])
  command.action(run(() => mcp(world, command.opts<McpOptions>())))
}

async function mcp(world: CliContext, options: McpOptions): Promise<void> {
  const target = await targetOfProgram(world, options, { name: 'mcp', role: 'agent' })
  const bridge = await openBridge(target, { clock: world.clock, reconnect: true })
  try {
    await serveMcp(world, { bridge, principal: target.principal, role: await roleOf(bridge) })
  } finally {
    await bridge.close()
  }
}

/** The bridge knows the role; what it would refuse is not offered. It decides again at every call. */
async function roleOf(bridge: Bridge): Promise<Role> {
  if (await mayAsk(bridge, 'audit/list', { limit: 1 })) return 'operator'
  // Without a command, which runs nothing: the role is looked at before the arguments.
  return (await mayAsk(bridge, 'invoke', {})) ? 'agent' : 'viewer'
}

async function mayAsk(bridge: Bridge, verb: VerbName, args: object): Promise<boolean> {
  try {
    await bridge.request(verb, args)
    return true
  } catch (error) {
    if (!(error instanceof RefusedByBridge)) throw error
    if (error.body.code === 'forbidden') return false
    if (error.body.code === 'invalid_request') return true
    throw error
  }
}
