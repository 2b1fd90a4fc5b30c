import type { Command } from 'commander'
import { jsonOption, type Run, withExamples } from '../command-options.ts'
import type { CliContext, StoreCopyOutcome } from '../context.ts'
import { CliError, EXIT } from '../exit.ts'
import { type FormatOptions, Output } from '../terminal/output.ts'
import { print } from '../terminal/text.ts'

/** `store copy`: from a file of SQLite to a PostgreSQL server, and back. */

interface CopyOptions extends FormatOptions {
  readonly from: string
  readonly to: string
  readonly config?: string
}

export function addStoreCommands(program: Command, context: CliContext, run: Run): void {
  const store = program.command('store').description('Move what the bridge keeps to another database.')
  const command = store
    .command('copy')
    .summary('Copy everything into another, empty database.')
    .description(
      'Copy everything that one database keeps into another one: a file of SQLite, or a PostgreSQL server. No bridge may run ' +
        'on either. The copy is one transaction; the rows of each table are counted and the audit log is checked before it ends. ' +
        'The schema, password, certificates and secret of a server are those of `store` in the configuration.',
    )
    .requiredOption('--from <place>', 'a file of SQLite, or postgres://user@host:port/database')
    .requiredOption('--to <place>', 'a file that is not there yet, or postgres://user@host:port/database')
    .option('--config <file>', 'the configuration; the variable LIMB_CONFIG can name it too')
  jsonOption(command)
  withExamples(command, [
    'limb-bridge store copy --from data/limb.sqlite --to postgres://limb@db.example.net/limb',
    'limb-bridge store copy --from postgres://limb@db.example.net/limb --to data/back.sqlite',
  ])
  command.action(
    run(async () => {
      const options = command.opts<CopyOptions>()
      const { from, to, config } = options
      const copied = await context.maintenance.copyStore({ from, to, configFile: config })
      if (!copied.ok) throw new CliError(EXIT.refused, copied.reason)
      const { rows, nodes, audit, secret } = copied
      const answer = { rows, nodes, auditRows: audit.rows, lastSeq: audit.lastSeq, secret }
      new Output(context, options).answer(answer, () => print(context.io.stdout, sentences(copied)))
    }),
  )
}

const SECRETS: Readonly<Record<'copied' | 'none' | 'left', string>> = {
  copied: 'The secret by which limbs with an HTTP server know the bridge is copied too.',
  none: 'There was no secret of limbs with an HTTP server.',
  left: 'The secret by which limbs with an HTTP server know the bridge was left where it is: set store.secretFile, or bring the file invoke-secret along.',
}

function sentences({ rows, nodes, audit, secret }: StoreCopyOutcome & { ok: true }): string {
  const all = Object.values(rows).reduce((sum, count) => sum + count, 0)
  return [
    `${all} rows are copied, of them ${nodes} limbs; the audit log is whole, ${audit.rows} rows.`,
    SECRETS[secret],
    'Name the copy in the configuration (store.kind, store.path or store.url), and start the bridge there. Never start it on both.',
  ].join('\n')
}
