import { writeFileSync } from 'node:fs'
import { extname } from 'node:path'
import { type Command, Option } from 'commander'
import { messageOf } from '../../kernel/errors.ts'
import { escapeJson, escapeText } from '../../kernel/escape-text.ts'
import { group, type Run, targetOptions, withExamples } from '../command-options.ts'
import type { CliContext } from '../context.ts'
import { CliError, EXIT } from '../exit.ts'
import { allPages } from '../session/paging.ts'
import { openBridge } from '../session/session.ts'
import { type ConnectionOptions, targetOf } from '../session/target.ts'
import { asRow, type DisplayRow } from '../terminal/presentation.ts'
import { print } from '../terminal/text.ts'
import { csvLine } from './csv.ts'
import { shieldedCell } from './fleet-file.ts'

/** `node export`: the approved limbs in a form that `node import` takes, without their keys. */

const FORMATS = ['jsonl', 'json', 'csv'] as const
type Format = (typeof FORMATS)[number]

interface ExportOptions extends ConnectionOptions {
  readonly format?: Format
}

export function addExportCommand(program: Command, context: CliContext, run: Run): void {
  const command = group(program, ['node'])
    .command('export')
    .summary('Write the approved limbs in a form that `node import` takes.')
    .description(
      'Write the approved limbs in a form that `node import` takes: their names, platforms and capabilities with commands and levels. Keys are not in it, for the bridge keeps only their hashes; `node import` makes new ones.\nNeeds the role viewer.',
    )
    .argument('[file]', 'where to; standard output when absent, or with `-`')
    .addOption(
      new Option('--format <format>', 'by the ending of the file when absent, or else jsonl').choices(
        FORMATS,
      ),
    )
  targetOptions(command)
  withExamples(command, [
    'limb-bridge node export fleet.csv',
    'limb-bridge node export --format json | jq ".[].nodeId"',
    'limb-bridge node export | limb-bridge node import - --url mqtts://other.lan --user admin',
  ])
  command.action(
    run(() =>
      exportNodes(context, command.processedArgs[0] as string | undefined, command.opts<ExportOptions>()),
    ),
  )
}

async function exportNodes(
  context: CliContext,
  file: string | undefined,
  options: ExportOptions,
): Promise<void> {
  const bridge = await openBridge(await targetOf(context, options), { clock: context.clock })
  try {
    const { items } = await allPages(bridge, 'node/list')
    const text = WRITERS[options.format ?? formatOf(file)](items.map(exported))
    if (file === undefined || file === '-') context.io.stdout.write(text)
    else {
      write(file, text)
      print(context.io.stderr, `${items.length} limbs are in ${escapeText(file)}, without their keys`)
    }
  } finally {
    await bridge.close()
  }
}

function formatOf(file: string | undefined): Format {
  const ending = extname(file ?? '').slice(1)
  return FORMATS.find((format) => format === ending) ?? 'jsonl'
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text)
  } catch (error) {
    throw new CliError(EXIT.refused, `cannot write ${file}: ${messageOf(error)}`)
  }
}

function capabilitiesOf({ capabilities }: DisplayRow): DisplayRow[] {
  return Array.isArray(capabilities) ? capabilities.map(asRow) : []
}

/** Leaves of a limb what it is, not how it is now. */
function exported(row: DisplayRow): DisplayRow {
  const { nodeId, displayName, platform } = row
  const capabilities = capabilitiesOf(row).map(({ cap, commands, authLevel }) => ({
    cap,
    commands,
    authLevel,
  }))
  return { nodeId, displayName, platform, capabilities }
}

const COLUMNS = ['nodeId', 'displayName', 'platform', 'capabilities'] as const

function csvOf(rows: readonly DisplayRow[]): string {
  const lines = rows.map((row) => {
    const capabilities = capabilitiesOf(row).map(({ cap, authLevel, commands }) => {
      const names = Array.isArray(commands) ? commands.map(String).join(' ') : ''
      return [cap, authLevel, ...(names === '' ? [] : [names])].map(String).join(':')
    })
    const values = { ...row, capabilities: capabilities.join('; ') } as DisplayRow
    return csvLine(COLUMNS.map((key) => shieldedCell(escapeText(String(values[key] ?? '')))))
  })
  return [csvLine(COLUMNS), ...lines].map((line) => `${line}\n`).join('')
}

const WRITERS: Readonly<Record<Format, (rows: readonly DisplayRow[]) => string>> = {
  jsonl: (rows) => rows.map((row) => `${escapeJson(JSON.stringify(row))}\n`).join(''),
  json: (rows) => `[${rows.map((row) => `\n  ${escapeJson(JSON.stringify(row))}`).join(',')}\n]\n`,
  csv: csvOf,
}
