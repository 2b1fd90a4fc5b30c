import { type Command, InvalidArgumentError, Option } from 'commander'
import { isName } from '../../protocol/names.ts'
import { jsonOption, type Run, withExamples } from '../command-options.ts'
import type { CheckedClause, CliContext, DeviceCheckOutcome } from '../context.ts'
import { CliError, EXIT, SoftFailure, usageError } from '../exit.ts'
import { checkedRoot, settingsOf } from '../session/target.ts'
import { type FormatOptions, Output } from '../terminal/output.ts'
import { print, shown } from '../terminal/text.ts'

/** `device check`: plays the bridge for a device under development, and says what its firmware does wrong. */

interface CheckOptions extends FormatOptions {
  readonly host: string
  readonly port: number
  readonly nodeId?: string
  readonly command?: string
  readonly params?: Readonly<Record<string, unknown>>
  readonly seconds: number
  readonly thorough?: true
  readonly rotateKey?: true
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly root?: string
  readonly config?: string
}

const DAY_SECONDS = 86_400

export function addDeviceCommands(program: Command, context: CliContext, run: Run): void {
  const device = program.command('device').description('Devices under development: check.')
  const command = device
    .command('check')
    .summary('Play the bridge for a device, and show clause by clause what its firmware does wrong.')
    .description(
      'Play the bridge for one device under development: let it pair, invoke it, cut its connection, reject it, and show ' +
        'clause by clause what its firmware does wrong. Nothing is stored, and your own bridge is not asked: point the ' +
        'device to this machine and port. One command of the device is run for real, one that it calls `safe` if there ' +
        'is one. The check takes a minute or two; Ctrl-C ends it early. The exit code is 0 when every clause that must ' +
        'hold does, 1 when one does not, 7 when no device came.',
    )
    .option(
      '--host <address>',
      'the address to listen on; 0.0.0.0 is every address of this machine',
      '127.0.0.1',
    )
    .addOption(
      new Option('--port <port>', 'the port to listen on; 0 takes a free one')
        .argParser(whole(0, 65_535))
        .default(1883),
    )
    .addOption(
      new Option('--node-id <name>', 'look at this device alone; else at the first that comes').argParser(
        name,
      ),
    )
    .option('--command <name>', 'the command to invoke')
    .addOption(
      new Option(
        '--params <json>',
        'the params to invoke it with; made from its `input` when absent',
      ).argParser(object),
    )
    .addOption(
      new Option('--seconds <seconds>', 'how long to wait for the device')
        .argParser(whole(1, DAY_SECONDS))
        .default(120),
    )
    .option('--thorough', 'try a bridge that falls silent too, which takes two and a half keepalives')
    .option('--rotate-key', 'give the device a new key too; your real bridge will then not know it any more')
    .option('--tls-cert <file>', 'listen with TLS: the certificate, such as bridge.pem of `tls init`')
    .option('--tls-key <file>', 'with --tls-cert: its key')
    .option('--root <topic>', 'the topic root, if it is another one than in the configuration')
    .option('--config <file>', 'the configuration that names the topic root')
  jsonOption(command)
  withExamples(command, [
    'limb-bridge device check --port 1884',
    'limb-bridge device check --host 0.0.0.0 --command lamp.set --params \'{"on": true}\'',
    'limb-bridge device check --host 0.0.0.0 --port 8883 --tls-cert tls/bridge.pem --tls-key tls/bridge-key.pem',
  ])
  command.action(run(() => checkDevice(context, command.opts<CheckOptions>())))
}

function whole(min: number, max: number) {
  return (text: string): number => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`)
  }
}

function name(text: string): string {
  if (isName(text)) return text
  throw new InvalidArgumentError('It must be a nodeId: letters, digits, "_" and "-".')
}

function object(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Readonly<Record<string, unknown>>
  } catch {
    // It is said below.
  }
  throw new InvalidArgumentError('It must be a JSON object, such as {"on": true}.')
}

function tlsOf({ tlsCert, tlsKey }: CheckOptions): { certFile: string; keyFile: string } | undefined {
  if (tlsCert === undefined && tlsKey === undefined) return undefined
  if (tlsCert === undefined || tlsKey === undefined) throw usageError('--tls-cert and --tls-key go together')
  return { certFile: tlsCert, keyFile: tlsKey }
}

async function checkDevice(context: CliContext, options: CheckOptions): Promise<number> {
  const output = new Output(context, options)
  // The document alone goes to standard output.
  const show = (text: string) => print(output.isText ? context.io.stdout : context.io.stderr, shown(text))
  const tls = tlsOf(options)
  const end = new AbortController()
  const off = context.io.onInterrupt(() => end.abort())
  try {
    const { host, port, nodeId, command, params, seconds, thorough = false, rotateKey = false } = options
    const root = checkedRoot(options.root ?? (await settingsOf(context, options.config)).mqtt.topicRoot)
    const outcome = await context.checkDevice({
      ...{ host, port, nodeId, command, params, seconds, thorough, rotateKey, tls, root },
      version: context.version,
      signal: end.signal,
      listening: (at) => show(`Waiting for a device on ${host}, port ${at}${tls ? ', with TLS' : ''} …`),
      progress: show,
    })
    return report(context, output, outcome)
  } finally {
    off()
  }
}

function report(context: CliContext, output: Output, outcome: DeviceCheckOutcome): number {
  if (!outcome.ok) throw new CliError(EXIT.refused, outcome.reason)
  const { findings, nodeId, came, interrupted } = outcome
  if (!came)
    throw new CliError(
      EXIT.offline,
      interrupted
        ? 'it was ended before a device came'
        : 'no device came: does it have the address and the port of this check, and does a firewall let it through?',
    )
  const wrong = findings.filter(({ verdict }) => verdict === 'wrong').length
  output.answer({ nodeId, good: wrong === 0, interrupted, clauses: findings }, () =>
    print(context.io.stdout, listOf(findings, interrupted)),
  )
  if (wrong > 0)
    throw new SoftFailure(wrong === 1 ? 'one clause does not hold' : `${wrong} clauses do not hold`)
  return EXIT.ok
}

const SIGNS: Readonly<Record<CheckedClause['verdict'], string>> = {
  holds: 'ok       ',
  wrong: 'WRONG    ',
  advice: 'advice   ',
  not_tried: 'not tried',
}

function listOf(findings: readonly CheckedClause[], interrupted: boolean): string {
  const lines = findings.flatMap(({ clause, verdict, text, section, seen }) => [
    `${SIGNS[verdict]}  ${clause.padEnd(20)} ${text}`,
    ...(seen === undefined ? [] : [`           ${shown(seen)}`]),
    ...(verdict === 'wrong' || verdict === 'advice'
      ? [`           docs/protocol/limbs.md, "${section}"`]
      : []),
  ])
  const count = (verdict: CheckedClause['verdict']) =>
    findings.filter((each) => each.verdict === verdict).length
  const sum = `${count('holds')} hold, ${count('wrong')} do not, ${count('advice')} could be better, ${count('not_tried')} were not tried`
  return ['', ...lines, '', `${interrupted ? 'Ended early: ' : ''}${sum}.`].join('\n')
}
