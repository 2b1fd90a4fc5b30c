import type { Command } from 'commander'

/** These are the parts that several commands share. */

/** Wraps an action so that its end becomes an exit code; a number that it resolves with is the code. */
export type Run = (action: () => Promise<unknown>) => () => Promise<void>

export function jsonOption(command: Command): Command {
  return command.option('--json', 'one JSON document, for programs')
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
    .option('--socket <path>', 'the control socket of a bridge on this machine')
    .option('--url <url>', 'a remote bridge: mqtt://, mqtts://, ws:// or wss://')
    .option('--user <name>', 'with --url: the principal to sign in as')
    .option('--password-file <file>', 'with --url: its password, unless LIMB_PASSWORD has it')
    .option('--ca <file>', 'with mqtts:// or wss://: the certificate authority to trust')
    .option('--root <topic>', 'the topic root, if it is not the one of the configuration')
    .option('--config <file>', 'the configuration that names the control socket')
}

const GROUPS: Readonly<Record<string, string>> = {
  audit: 'What was decided: list (with --follow or --jsonl too), verify.',
  backup: 'Copies of the database.',
  bridge: 'The bridge itself: health.',
  invocation: 'Invocations of limbs: list, approve, deny.',
  lease: 'Who has what for itself: list, acquire, renew, release.',
  node: 'Limbs: list, provision, rename, revoke.',
  pairing: 'Requests of new limbs: list, approve, reject, open the window.',
  policy: 'Who may use which capability how freely.',
  principal: 'People and programs that use limbs.',
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
