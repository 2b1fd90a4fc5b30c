import { dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { jsonOption, type Run, withExamples } from '../command-options.ts'
import type { CliContext, TlsOutcome } from '../context.ts'
import { CliError, EXIT } from '../exit.ts'
import { settingsOf } from '../session/target.ts'
import { type FormatOptions, Output } from '../terminal/output.ts'
import { print } from '../terminal/text.ts'

/** `tls init`: an authority of this machine's own, for a network that has none. */

interface InitOptions extends FormatOptions {
  readonly config?: string
  readonly folder?: string
  readonly name?: readonly string[]
}

export function addTlsCommands(program: Command, context: CliContext, run: Run): void {
  const tls = program.command('tls').description('Make certificates for MQTT over TLS.')
  const command = tls
    .command('init')
    .summary('Make an authority of your own, and a certificate by it.')
    .description(
      'Make a certificate authority of your own, and a certificate by it for the names and addresses of this machine. ' +
        'Devices get the authority (ca.pem); the bridge renews the certificate by itself. Run it again to add names: ' +
        'the authority stays, so devices need nothing new.',
    )
    .option('--folder <folder>', 'where the files go; `tls` beside the database unless you name another')
    .option('--name <name>', 'one more name or address of the machine; may be repeated', collect)
    .option('--config <file>', 'the configuration that names the database')
  jsonOption(command)
  withExamples(command, ['limb-bridge tls init', 'sudo limb-bridge tls init --name bridge.example.org'])
  command.action(
    run(async () => {
      const options = command.opts<InitOptions>()
      const folder = resolve(options.folder ?? (await besideDatabase(context, options.config)))
      const made = await context.maintenance.initTls(folder, options.name ?? [])
      if (!made.ok) throw new CliError(EXIT.refused, made.reason)
      const { ok: _ok, ca, cert, key, names, until, fingerprint, madeAuthority } = made
      const answer = { ca, cert, key, names, until: until.toISOString(), fingerprint, madeAuthority }
      new Output(context, options).answer(answer, () => print(context.io.stdout, sentences(made)))
    }),
  )
}

function collect(name: string, names: readonly string[] = []): readonly string[] {
  return [...names, name]
}

async function besideDatabase(context: CliContext, config: string | undefined): Promise<string> {
  const { path } = (await settingsOf(context, config)).store
  if (path === ':memory:')
    throw new CliError(EXIT.config, 'the database is in memory; name a folder with --folder')
  return join(dirname(path), 'tls')
}

function sentences(made: TlsOutcome & { ok: true }): string {
  const { ca, cert, key, names, until, fingerprint, madeAuthority } = made
  return [
    madeAuthority ? `An authority is made: ${ca}` : `The authority was there before, and stays: ${ca}`,
    `  SHA-256 ${fingerprint}`,
    `A certificate is made: ${cert}`,
    `  for ${names.join(', ')}`,
    `  until ${until.toISOString().slice(0, 10)}; the bridge renews it by itself`,
    '',
    'Put this into the configuration and start the bridge anew:',
    '',
    'tls:',
    '  enabled: true',
    `  certFile: ${cert}`,
    `  keyFile: ${key}`,
    '',
    `Then give each device ${ca}, and port 8883. Try it:`,
    `  mosquitto_sub -h ${names[0] ?? 'localhost'} -p 8883 --cafile ${ca} -u admin -P <password> -t 'limb/bridge/#'`,
  ].join('\n')
}
