import { type Command, Option } from 'commander'
import { z } from 'zod'
import { within } from '../../kernel/semaphore.ts'
import { ROLES, type Role } from '../../protocol/names.ts'
import { type Run, targetOptions, withExamples } from '../command-options.ts'
import type { CliContext } from '../context.ts'
import { LateBridge } from '../session/late-bridge.ts'
import type { Bridge } from '../session/session.ts'
import { type ConnectionOptions, targetOfProgram } from '../session/target.ts'
import { serveMcp } from './serve-stdio.ts'

/** `mcp`: limbs as tools for an AI agent, over standard input and output. */

const roleSchema = z.object({ you: z.object({ role: z.enum(ROLES) }) })

interface McpOptions extends ConnectionOptions {
  readonly role?: Role
}

export function addMcpCommand(program: Command, context: CliContext, run: Run): void {
  const command = program
    .command('mcp')
    .summary('Serve limbs as tools to an AI agent (MCP over standard input and output).')
    .description(
      [
        'Serve limbs as tools to an AI agent: a Model Context Protocol server on standard input and output.',
        'Through the control socket it signs in as --user (mcp when absent) with --role (agent when absent), and the bridge lets it do no more than this role may.',
      ].join(' '),
    )
  targetOptions(command)
  command.addOption(
    new Option(
      '--role <role>',
      'with the control socket: the role to sign in with; agent when absent',
    ).choices([...ROLES]),
  )
  withExamples(command, [
    'limb-bridge mcp',
    'limb-bridge mcp --role operator                  offers limb_pair_approve too',
    'limb-bridge mcp --url mqtts://bridge.lan --user assistant --password-file assistant.txt',
  ])
  command.action(run(() => mcp(context, command.opts<McpOptions>())))
}

/** The time to wait for the first answer of the bridge; then tools are served without it, and it is tried on. */
const FIRST_TRY_MS = 3000

async function mcp(context: CliContext, options: McpOptions): Promise<void> {
  const target = await targetOfProgram(context, options, { name: 'mcp', role: 'agent' })
  const bridge = new LateBridge(target, context.clock)
  try {
    await firstTry(context, bridge)
    await serveMcp(context, { bridge, principal: target.principal, role: roleOf(bridge, target.role) })
  } finally {
    await bridge.close()
  }
}

async function firstTry(context: CliContext, bridge: LateBridge): Promise<void> {
  await within(context.clock, FIRST_TRY_MS, bridge.firstTry)
  const { missing } = bridge
  if (missing) context.io.stderr.write(`${missing.message}; tools say \`unreachable\` until it answers\n`)
}

/**
 * Returns the role, so that tools which the bridge would refuse are not offered; it decides again at every call. On
 * the control socket the role is `asked` for.
 */
function roleOf(bridge: Bridge, asked: Role | undefined): () => Promise<Role | undefined> {
  let known = asked
  // It may be another one when the session is back: who gets another role is signed out.
  bridge.onConnection((connected) => {
    if (!connected) known = asked
  })
  return async () => {
    known ??= await askRole(bridge)
    return known
  }
}

/** Asks the bridge for the role; undefined from one that is away, or too old to say it. */
async function askRole(bridge: Bridge): Promise<Role | undefined> {
  try {
    const health = await bridge.request('bridge/health', {})
    return roleSchema.safeParse(health).data?.you.role
  } catch {
    return undefined
  }
}
