import { Command, CommanderError } from 'commander'
import { systemClock } from '../kernel/clock.ts'
import { messageOf } from '../kernel/errors.ts'
import { escapeText } from '../kernel/escape-text.ts'
import type { Run } from './command-options.ts'
import { withExamples } from './command-options.ts'
import { addCompletionCommand } from './commands/completion.ts'
import { addConfigCommands } from './commands/config.ts'
import { addMaintenanceCommands } from './commands/maintenance.ts'
import { addStatusCommand } from './commands/status.ts'
import { addWatchCommand } from './commands/watch.ts'
import type { CliContext, CommandLineOptions } from './context.ts'
import { CliError, EXIT, EXIT_HELP, WrongArgument } from './exit.ts'
import { addMcpCommand } from './mcp/mcp-command.ts'
import { addSimulateCommand } from './simulate/simulate-command.ts'
import { processIo } from './terminal/process-io.ts'
import { print } from './terminal/text.ts'
import { addVerbCommands } from './verbs/verb-commands.ts'

export type { CommandLineOptions as CommandLineParts } from './context.ts'

/** The command line of the bridge: an MQTT client like any other, and `serve`. */

const INTRODUCTION = [
  'Limb Bridge turns a heap of devices into a fleet: it pairs limbs, keeps their presence, and guards who may use them.',
  '`serve` runs the bridge; `config`, `doctor` and `restore` work on this machine; every other command talks to a running bridge, over its control socket or --url.',
].join(' ')

const FIRST_STEPS = `
First steps:
  limb-bridge serve                     run the bridge (MQTT on 127.0.0.1:1883)
  limb-bridge simulate --nodes 5        let five pretended limbs register
  limb-bridge pairing approve           compare a code and approve one
  limb-bridge watch                     see them come and go

${EXIT_HELP}
`

/**
 * Runs one command line (without the names of node and script) and resolves with the exit code. Never throws
 * for what a user can do wrong.
 */
export async function runCommandLine(argv: readonly string[], parts: CommandLineOptions): Promise<number> {
  const world: CliContext = { ...parts, io: parts.io ?? processIo(), clock: parts.clock ?? systemClock }
  let exitCode: number = EXIT.ok
  const run: Run = (action) => async () => {
    const result = await action()
    if (typeof result === 'number') exitCode = result
  }
  const program = buildProgram(world, run)
  let running = program
  program.hook('preAction', (_program, command) => {
    running = command
  })
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return exitCode
  } catch (error) {
    return failure(world, error, running)
  }
}

/** The whole tree of commands; completion is made from it too. */
export function buildProgram(world: CliContext, run: Run): Command {
  const program = new Command('limb-bridge')
    .description(INTRODUCTION)
    .version(world.version, '-V, --version', 'the version')
    .helpCommand('help [command]', 'help for one command')
    .addHelpText('after', FIRST_STEPS)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => world.io.stdout.write(text),
      writeErr: (text) => world.io.stderr.write(text),
      outputError: (text, write) =>
        write(/unknown command/.test(text) ? `${text}\`limb-bridge --help\` lists the commands.\n` : text),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
  addServeCommand(program, world, run)
  addStatusCommand(program, world, run)
  addWatchCommand(program, world, run)
  addVerbCommands(program, world, run)
  addConfigCommands(program, world, run)
  addMaintenanceCommands(program, world, run)
  addSimulateCommand(program, world, run)
  addMcpCommand(program, world, run)
  addCompletionCommand(program, world, run)
  showForms(program)
  return program
}

/** Each command shows its form after what it is told wrong: `usage: limb-bridge pairing permit [options] <seconds>`. */
function showForms(command: Command): void {
  command.showHelpAfterError(formOf(command))
  for (const child of command.commands) showForms(child)
}

function formOf(command: Command): string {
  return `usage: ${command.createHelp().commandUsage(command)}`
}

function addServeCommand(program: Command, world: CliContext, run: Run): void {
  const command = program
    .command('serve')
    .summary('Run the bridge.')
    .description('Run the bridge until SIGTERM or Ctrl-C. Every setting has a default; see `config show`.')
    .option('--config <file>', 'the configuration file, unless LIMB_CONFIG names it')
  withExamples(command, ['limb-bridge serve', 'limb-bridge serve --config /etc/limb-bridge/limb-bridge.yaml'])
  command.action(
    run(() => {
      const { config } = command.opts<{ config?: string }>()
      return world.serve(config === undefined ? {} : { configFile: config })
    }),
  )
}

function failure(world: CliContext, error: unknown, running: Command): number {
  // Commander has said it already, or was asked for help or the version.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  const lines = messageOf(error)
    .split('\n')
    .map((line) => escapeText(line))
  print(world.io.stderr, `limb-bridge: ${lines.join('\n')}`)
  if (error instanceof WrongArgument) print(world.io.stderr, formOf(running))
  if (error instanceof CliError) return error.exitCode
  if (error instanceof Error && error.stack) print(world.io.stderr, error.stack)
  return EXIT.internal
}
