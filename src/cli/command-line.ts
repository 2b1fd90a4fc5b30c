import { Command, CommanderError } from 'commander'
import { systemClock } from '../kernel/clock.ts'
import { messageOf } from '../kernel/errors.ts'
import { escapeText } from '../kernel/escape-text.ts'
import type { Run } from './command-options.ts'
import { withExamples } from './command-options.ts'
import type { CliContext, CommandLineOptions } from './context.ts'
import { CliError, EXIT, EXIT_HELP, SoftFailure, WrongArgument } from './exit.ts'
import { type FormatOptions, Output } from './terminal/output.ts'
import { processIo } from './terminal/process-io.ts'
import { print } from './terminal/text.ts'
import { type CommandGroup, withAdvice, withMeantOption } from './terminal/unknown-command.ts'

export type { CommandLineOptions as CommandLineParts } from './context.ts'

/** The command line of the bridge: an MQTT client like any other, and `serve`. */

const INTRODUCTION = [
  'Limb Bridge turns a heap of devices into a fleet. It pairs devices (limbs), knows which of them are there, and decides who may use them.',
  '`serve` runs the bridge. `config`, `doctor`, `restore` and `tls` work on the files of this machine, `device check` on a device under development. Every other command talks to a running bridge: on this machine through its control socket, or with --url over the network.',
].join(' ')

const FIRST_STEPS = `
First steps:
  limb-bridge serve                     run the bridge (MQTT on 127.0.0.1:1883)
  limb-bridge simulate --nodes 5        let five pretended limbs register
  limb-bridge pairing approve           compare a code and approve one
  limb-bridge watch                     see them come and go
  limb-bridge why cam1                  see why one does not

${EXIT_HELP}
`

/**
 * Runs one command line (without the names of node and script) and resolves with the exit code. Never throws
 * for what a user can do wrong.
 */
export async function runCommandLine(given: readonly string[], parts: CommandLineOptions): Promise<number> {
  // What people ask first when a device does not come in, in one word.
  const argv = given[0] === 'why' ? ['node', ...given] : given
  const context: CliContext = { ...parts, io: parts.io ?? processIo(), clock: parts.clock ?? systemClock }
  let exitCode: number = EXIT.ok
  const run: Run = (action) => async () => {
    const result = await action()
    if (typeof result === 'number') exitCode = result
  }
  const program = await buildProgram(context, run, askedOf(argv))
  let running = program
  program.hook('preAction', (_program, command) => {
    running = command
  })
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return exitCode
  } catch (error) {
    return failure(context, error, running)
  }
}

/** Adds its commands to the program; of the verbs only those that were asked for. */
type Add = (program: Command, context: CliContext, run: Run, asked: readonly string[]) => void

interface Part {
  /** The first words that it knows; without them it knows those that no other part does. */
  readonly words?: readonly string[]
  load(): Promise<Add>
}

/** The parts of the command line, in the order of its help. Each is loaded when a word of its is asked for. */
const PARTS: readonly Part[] = [
  { words: ['serve'], load: async () => addServeCommand },
  { words: ['status'], load: async () => (await import('./commands/status.ts')).addStatusCommand },
  { words: ['watch'], load: async () => (await import('./commands/watch.ts')).addWatchCommand },
  { load: async () => (await import('./verbs/verb-commands.ts')).addVerbCommands },
  { words: ['config'], load: async () => (await import('./commands/config.ts')).addConfigCommands },
  {
    words: ['restore', 'doctor'],
    load: async () => (await import('./commands/maintenance.ts')).addMaintenanceCommands,
  },
  {
    words: ['simulate'],
    load: async () => (await import('./simulate/simulate-command.ts')).addSimulateCommand,
  },
  { words: ['store'], load: async () => (await import('./commands/store.ts')).addStoreCommands },
  { words: ['tls'], load: async () => (await import('./commands/tls.ts')).addTlsCommands },
  { words: ['device'], load: async () => (await import('./commands/device.ts')).addDeviceCommands },
  { words: ['mcp'], load: async () => (await import('./mcp/mcp-command.ts')).addMcpCommand },
  {
    words: ['completion'],
    load: async () => (await import('./commands/completion.ts')).addCompletionCommand,
  },
]

/** Everything: what help lists, what completion is made from, and what a word that nobody knows is compared with. */
const EVERYTHING: readonly string[] = []

/** The words of a command line up to its first option. */
function askedOf(argv: readonly string[]): readonly string[] {
  // Help takes one word, and completion is made from the whole tree.
  const words = argv[0] === 'help' ? argv.slice(1, 2) : argv
  const end = words.findIndex((word) => word.startsWith('-'))
  const asked = end < 0 ? words : words.slice(0, end)
  return asked[0] === 'completion' ? EVERYTHING : asked
}

function partsOf([word]: readonly string[]): readonly Part[] {
  if (word === undefined) return PARTS
  const part =
    PARTS.find(({ words }) => words?.includes(word)) ?? PARTS.find(({ words }) => words === undefined)
  return part === undefined ? PARTS : [part]
}

/**
 * Builds the tree of commands: what the words ask for, or all of it. A start of the command line should load and build
 * nothing that it does not run.
 */
export async function buildProgram(
  context: CliContext,
  run: Run,
  asked: readonly string[] = EVERYTHING,
): Promise<Command> {
  const program = new Command('limb-bridge')
    .description(INTRODUCTION)
    .version(context.version, '-V, --version', 'the version')
    .helpCommand('help [command]', 'show the help of one command')
    .addHelpText('after', FIRST_STEPS)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.io.stdout.write(text),
      writeErr: (text) => context.io.stderr.write(text),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
  await addParts(program, partsOf(asked), context, run, asked)
  const known = asked[0] === undefined || program.commands.some((command) => command.name() === asked[0])
  // A word that nobody knows: the message names the one that is nearest of all.
  if (!known) await addParts(program, PARTS, context, run, EVERYTHING)
  showForms(program)
  return program
}

async function addParts(
  program: Command,
  parts: readonly Part[],
  context: CliContext,
  run: Run,
  asked: readonly string[],
): Promise<void> {
  const added = await Promise.all(parts.map((part) => part.load()))
  for (const add of added) add(program, context, run, asked)
}

/** Each command shows its form after what it is told wrong: `usage: limb-bridge pairing permit [options] <seconds>`. */
function showForms(command: Command): void {
  command.showHelpAfterError(formOf(command))
  const { outputError } = command.configureOutput()
  command.configureOutput({
    outputError: (text, write) =>
      outputError?.(withAdvice(withMeantOption(text, optionsOf(command)), groupOf(command)), write),
  })
  for (const child of command.commands) showForms(child)
}

function groupOf(command: Command): CommandGroup {
  const path: string[] = []
  for (let at: Command | null = command; at?.parent; at = at.parent) path.unshift(at.name())
  return { path, names: command.commands.map((child) => child.name()) }
}

/** Lists the names of the options of a command and of those above it. */
function optionsOf(command: Command): string[] {
  const own = command.options.flatMap(({ long, hidden }) => (long && !hidden ? [long] : []))
  return command.parent === null ? own : [...own, ...optionsOf(command.parent)]
}

function formOf(command: Command): string {
  return `usage: ${command.createHelp().commandUsage(command)}`
}

function addServeCommand(program: Command, context: CliContext, run: Run): void {
  const command = program
    .command('serve')
    .summary('Run the bridge.')
    .description('Run the bridge until SIGTERM or Ctrl-C. Every setting has a default; see `config show`.')
    .option('--config <file>', 'the configuration file; the variable LIMB_CONFIG can name it too')
    .option(
      '--accept-older',
      'start once with a database that lacks changes which the bridge has acknowledged',
    )
  withExamples(command, ['limb-bridge serve', 'limb-bridge serve --config /etc/limb-bridge/limb-bridge.yaml'])
  command.action(
    run(() => {
      const { config, acceptOlder } = command.opts<{ config?: string; acceptOlder?: true }>()
      return context.serve({
        ...(config === undefined ? {} : { configFile: config }),
        ...(acceptOlder && { acceptOlder }),
      })
    }),
  )
}

function failure(context: CliContext, error: unknown, running: Command): number {
  // Commander has said it already, or was asked for help or the version.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  const lines = messageOf(error)
    .split('\n')
    .map((line) => escapeText(line))
  print(context.io.stderr, `limb-bridge: ${lines.join('\n')}`)
  if (!(error instanceof SoftFailure)) new Output(context, running.opts<FormatOptions>()).failure(error)
  if (error instanceof WrongArgument) print(context.io.stderr, formOf(running))
  if (error instanceof CliError) return error.exitCode
  if (error instanceof Error && error.stack) print(context.io.stderr, error.stack)
  return EXIT.internal
}
