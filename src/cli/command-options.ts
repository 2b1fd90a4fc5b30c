import type { Command } from 'commander'

/** These are the parts that several commands share. */

/** Wraps an action so that its end becomes an exit code; a number that it resolves with is the code. */
export type Run = (action: () => Promise<unknown>) => () => Promise<void>

export function jsonOption(command: Command): Command {
  return command.option('--json', 'print one JSON document, for programs')
}

export function jsonLinesOption(command: Command, text: string): Command {
  return command.option('--jsonl', text)
}

export function connectionOptions(command: Command): Command {
  return targetOptions(jsonOption(command))
}

/** Adds the options that say which bridge, and as whom. */
export function targetOptions(command: Command): Command {
  return command
    .optionsGroup('Connection:')
    .option('--socket <path>', 'talk to the bridge on this machine through this control socket')
    .option(
      '--url <url>',
      'talk to the bridge at this address, unless LIMB_URL holds it: mqtt://, mqtts://, ws:// or wss://',
    )
    .option('--user <name>', 'with --url: the principal to sign in as')
    .option(
      '--password-file <file>',
      'with --url: the file with the password; not needed if LIMB_PASSWORD holds it',
    )
    .option('--ca <file>', 'with mqtts:// or wss://: the certificate authority to trust')
    .option('--root <topic>', 'the topic root, if it is another one than in the configuration')
    .option('--config <file>', 'the configuration that names the control socket')
}

const GROUPS: Readonly<Record<string, string>> = {
  audit: 'The audit log, who did what: list (also --follow or --jsonl), verify.',
  backup: 'Backups of the database: create.',
  bridge: 'The bridge itself: health.',
  invocation: 'Invocations of limbs: list, get, approve, deny, cancel.',
  lease: 'Leases, to use something alone for a time: list, acquire, renew, release.',
  node: 'Limbs: list, get, why, history, rename, revoke, provision and more.',
  pairing: 'Pairing requests of new limbs: list, approve, reject, forgive, permit.',
  policy: 'Policies, how freely a principal may use what: list, set, delete, explain.',
  principal: 'Principals, people and programs that use limbs: list, add, remove and more.',
  session: 'MQTT sessions, live and stored: list, forget.',
  token: 'Tokens, with which programs sign in: list, add, remove.',
}

/** The command of a group of verbs, made when it is first needed. */
export function group(program: Command, names: readonly string[]): Command {
  let command = program
  for (const name of names) {
    command =
      command.commands.find((child) => child.name() === name) ??
      command.command(name).description(GROUPS[name] ?? `Commands about ${name}.`)
  }
  return command
}

export function withExamples(command: Command, examples: readonly string[]): void {
  if (examples.length === 0) return
  command.addHelpText('after', `\nExamples:\n${examples.map((line) => `  ${line}\n`).join('')}`)
}
