import type { Command } from 'commander'
import type { CheckResult } from '../../host/doctor/check-result.ts'
import { jsonOption, type Run, withExamples } from '../command-options.ts'
import type { CliContext } from '../context.ts'
import { CliError, EXIT } from '../exit.ts'
import { settingsOf } from '../session/target.ts'
import { type FormatOptions, Output } from '../terminal/output.ts'
import { print, shown } from '../terminal/text.ts'
import { askBridge } from './doctor-of-bridge.ts'

/** `restore` and `doctor`: for the machine of the bridge itself, and for when it does not run. */

export function addMaintenanceCommands(program: Command, context: CliContext, run: Run): void {
  addRestore(program, context, run)
  addDoctor(program, context, run)
}

function addRestore(program: Command, context: CliContext, run: Run): void {
  const command = program
    .command('restore')
    .summary('Replace the database by a backup.')
    .description(
      'Replace the database of the configuration by a backup. Stop the bridge first. The command checks the backup, ' +
        'and keeps the old database in a file beside it.',
    )
    .argument('<file>', 'the backup: a file that `backup create` or the schedule made')
    .option('--config <file>', 'the configuration that names the database')
  withExamples(command, ['limb-bridge restore data/backups/limb-20260101T030000000Z.sqlite'])
  command.action(
    run(async () => {
      const { config } = command.opts<{ config?: string }>()
      const { kind, path: to } = (await settingsOf(context, config)).store
      if (kind === 'postgres')
        throw new CliError(
          EXIT.config,
          'the database is on a PostgreSQL server: restore it there, while the bridge is stopped',
        )
      if (to === ':memory:')
        throw new CliError(EXIT.config, 'the database is in memory; set store.path or LIMB_DB')
      const restored = await context.maintenance.restore(String(command.processedArgs[0]), to)
      if (!restored.ok) throw new CliError(EXIT.refused, restored.reason)
      print(
        context.io.stdout,
        `${restored.file} is restored: schema ${restored.version}, ${restored.nodes} limbs.`,
      )
      if (restored.replaced !== undefined)
        print(context.io.stdout, `What was there is now ${restored.replaced}.`)
      print(
        context.io.stdout,
        'What was decided after the backup is undone: look through pairings, keys and policies. Start the bridge now.',
      )
    }),
  )
}

const SIGNS: Readonly<Record<CheckResult['level'], string>> = {
  ok: 'ok',
  warning: 'WARNING',
  problem: 'PROBLEM',
}

function addDoctor(program: Command, context: CliContext, run: Run): void {
  const command = program
    .command('doctor')
    .summary('Look for what is wrong on this machine, and say what to do.')
    .description(
      'Look at configuration, database, folders, disk, backups, ports, control socket, certificates and clock, and say ' +
        'what is wrong. The bridge may run or not; a running one is asked how it is, and why limbs that try do not come in. Nothing is changed. The exit code is 1 when there is a problem.',
    )
    .option('--config <file>', 'the configuration file; the variable LIMB_CONFIG can name it too')
  jsonOption(command)
  withExamples(command, ['limb-bridge doctor', 'sudo limb-bridge doctor --json'])
  command.action(
    run(async () => {
      const options = command.opts<FormatOptions & { config?: string }>()
      const { config } = options
      const results = [...(await context.maintenance.doctor(config)), ...(await askBridge(context, config))]
      const problems = results.filter((result) => result.level === 'problem').length
      new Output(context, options).answer({ healthy: problems === 0, results }, () =>
        print(context.io.stdout, text(results, problems)),
      )
      return problems === 0 ? EXIT.ok : EXIT.refused
    }),
  )
}

function text(results: readonly CheckResult[], problems: number): string {
  const width = results.reduce((max, { what }) => Math.max(max, what.length), 0)
  const lines = results.map(
    ({ what, level, message }) => `${SIGNS[level].padEnd(7)}  ${what.padEnd(width)}  ${shown(message)}`,
  )
  const warnings = results.filter((result) => result.level === 'warning').length
  return [...lines, `${problems} problems, ${warnings} warnings`].join('\n')
}
