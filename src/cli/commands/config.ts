import type { Command } from 'commander'
import { jsonOption, type Run } from '../command-options.ts'
import type { CliContext, ShownSettings } from '../context.ts'
import { CliError, EXIT, usageError } from '../exit.ts'
import { type FormatOptions, Output } from '../terminal/output.ts'
import { print } from '../terminal/text.ts'

/** `config check FILE` and `config show`. */

interface ShowOptions extends FormatOptions {
  readonly config?: string
}

interface CheckOptions {
  readonly config?: string
}

async function loaded(
  context: CliContext,
  file: string | undefined,
  env = context.io.env,
): Promise<ShownSettings> {
  const result = await context.configuration.load(file, env)
  if (!result.ok) throw new CliError(EXIT.config, result.problems.join('\n'))
  const shown = await result.show()
  for (const warning of shown.warnings) print(context.io.stderr, `warning: ${warning}`)
  return shown
}

function fileToCheck(argument: unknown, option: string | undefined): string {
  const files = [argument, option].filter((file) => typeof file === 'string')
  const [file, another] = files
  if (file === undefined) throw usageError('name the file: limb-bridge config check FILE')
  if (another !== undefined && another !== file) {
    throw usageError(`name one file, not two: ${file} and ${another}`)
  }
  return file
}

export function addConfigCommands(program: Command, context: CliContext, run: Run): void {
  const config = program.command('config').description('Check and show the configuration.')

  const check = config
    .command('check')
    .summary('Check a configuration file without starting anything.')
    .description(
      'Check a configuration file without starting anything. Variables of the environment are not looked at.',
    )
    .argument('[file]', 'the YAML file')
    .option('--config <file>', 'the YAML file, written as for `serve` and `config show`')
  check.action(
    run(async () => {
      const file = fileToCheck(check.processedArgs[0], check.opts<CheckOptions>().config)
      const { length } = (await loaded(context, file, {})).warnings
      const but =
        length === 0 ? '' : `, apart from ${length === 1 ? 'the warning' : `the ${length} warnings`} above`
      print(context.io.stdout, `${file} is sound${but}`)
    }),
  )

  const show = config
    .command('show')
    .summary('Show the settings in force, and where each comes from.')
    .description('Show the settings in force, and where each comes from. Secrets are hidden.')
    .option('--config <file>', 'the configuration file; the variable LIMB_CONFIG can name it too')
  jsonOption(show)
  show.action(
    run(async () => {
      const options = show.opts<ShowOptions>()
      const { text, settings } = await loaded(context, options.config)
      new Output(context, options).answer(settings, () => print(context.io.stdout, text))
    }),
  )
}
