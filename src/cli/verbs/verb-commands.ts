import { readFileSync } from 'node:fs'
import { Argument, type Command, Option } from 'commander'
import { messageOf } from '../../kernel/errors.ts'
import { VERBS, type VerbDefinition, type VerbName } from '../../protocol/verbs.ts'
import { connectionOptions, group, jsonLinesOption, type Run, withExamples } from '../command-options.ts'
import type { CliContext } from '../context.ts'
import { SoftFailure, usageError } from '../exit.ts'
import { allPages } from '../session/paging.ts'
import { type Bridge, openBridge } from '../session/session.ts'
import { type ConnectionOptions, targetOf } from '../session/target.ts'
import { humanText } from '../terminal/human-text.ts'
import { Output } from '../terminal/output.ts'
import { asRow } from '../terminal/presentation.ts'
import { readAll, readSecret } from '../terminal/questions.ts'
import { softFailureOf } from '../terminal/soft-failure.ts'
import { print, widthOf } from '../terminal/text.ts'
import { TIME_HINT } from '../terminal/times.ts'
import { chooseRequest } from './approve.ts'
import { type ArgumentSpec, argumentsOf, checkArguments, parseArgument } from './arguments.ts'
import { type AuditOptions, auditLines, isLineByLine } from './audit-lines.ts'
import { type ParamFlags, paramsHelp, takeParamFlags, withParams } from './command-params.ts'
import { type ApprovalDecision, decideWaiting } from './decide.ts'
import { decideRequests, takesWaiting } from './decide-requests.ts'
import { askBeforeEnd } from './ends.ts'
import { addExportCommand } from './export.ts'
import { importNodes } from './import.ts'
import { invokeWithProgress } from './invoke.ts'
import { type LabelOptions, labelOptions, writeLabel } from './label.ts'
import { checkPictureFile, savePictures } from './pictures.ts'

/** Every verb of the protocol's table as a subcommand: `node/list` is `limb-bridge node list`. */

type VerbOptions = ConnectionOptions &
  AuditOptions &
  LabelOptions & { readonly yes?: true; readonly output?: string; readonly skipPaired?: true }

type Values = Record<string, unknown>

/** Verbs that show what waits, and ask, when they are not told what they are about: by that argument. */
const ASKING: Partial<Record<VerbName, string>> = {
  'pairing/approve': 'requestId',
  'invocation/approve': 'invocationId',
  'invocation/deny': 'invocationId',
}

/** Verbs whose requests may be told by their ids, their codes or their limbs. */
const BY_REQUEST: readonly VerbName[] = ['pairing/approve', 'pairing/reject']
const REQUEST_TEXT =
  'which request: the code that the device shows, the id of the request, or the limb if it has only one request. You can name several'

/** Verbs that ask on a terminal whether they shall do it. */
const ASKS_WHETHER: readonly VerbName[] = [
  ...BY_REQUEST,
  'node/revoke',
  'principal/remove',
  'invocation/approve',
  'invocation/deny',
]

/** Verbs whose command line is not what the schema alone would give. */
const EXAMPLES: Partial<Record<VerbName, readonly string[]>> = {
  'node/list': [
    'limb-bridge node list --status online',
    'limb-bridge node list --json | jq ".items[].nodeId"',
  ],
  'node/get': ['limb-bridge node get cam1'],
  'node/rename': ['limb-bridge node rename cam1 "Front door"'],
  'node/provision': [
    'limb-bridge node provision cam1 --display-name "Front camera"',
    'limb-bridge node provision cam1 --api-key - < key.txt',
    'limb-bridge node provision cam1 --qr --sticker cam1.svg --address 192.168.1.5',
    `limb-bridge node provision cam1 --capabilities '[{"cap":"camera","commands":["camera.snap"],"authLevel":"leased"}]'`,
  ],
  'node/import': [
    'limb-bridge node import fleet.jsonl',
    'limb-bridge node import fleet.csv',
    'limb-bridge node import fleet.csv --skip-paired    goes on where an import ended',
    'limb-bridge node import fleet.csv --jsonl > keys.jsonl    each key is there as soon as it holds',
    'generate-fleet | limb-bridge node import - --json',
  ],
  'pairing/approve': [
    'limb-bridge pairing approve             shows what is pending, and asks',
    'limb-bridge pairing approve BCDFGHJK    approves the request with that code: to type it is to compare it',
    'limb-bridge pairing approve cam1        shows the only request of that limb, and asks; --yes does not ask',
    'limb-bridge pairing approve BCDFGHJK LMNPQRST   approves both',
    `limb-bridge pairing approve BCDFGHJK --display-name "Front door" --area Hall --levels '{"camera":"gated"}'`,
  ],
  'pairing/reject': [
    'limb-bridge pairing reject BCDFGHJK     says what follows, and asks; --yes does not ask',
    'limb-bridge pairing list --state refused    shows what is refused, and until when',
    'limb-bridge pairing forgive cam1            lifts what is refused of cam1',
  ],
  'node/revoke': ['limb-bridge node revoke cam1', 'limb-bridge node revoke cam1 --yes'],
  invoke: [
    'free: runs at once',
    `  limb-bridge invoke camera.snap robot1 --params '{"zoom":2}'`,
    '  limb-bridge invoke camera.snap robot1 --output door.jpg       writes the picture that it answers',
    '  limb-bridge invoke camera.snap --capability camera        on any online limb that has it',
    '  limb-bridge invoke lamp.set --node-id lamp1 --brightness 40   with options, if the lamp describes them',
    '  limb-bridge invoke lamp.set --node-id lamp1 --help        shows which',
    'leased: runs when nobody else holds the lease, and waits for that at most 20 seconds',
    `  limb-bridge invoke arm.move --node-id robot1 --params '{"x":4}' --wait-seconds 20`,
    'gated: waits for an operator; standard error shows the command that lets it run',
    `  limb-bridge invoke saw.cut --node-id robot1 --params '{"depth":3}'`,
    'denied: does not run; this shows which policy decides',
    '  limb-bridge policy explain ann robot1 firmware',
  ],
  'audit/list': [
    'limb-bridge audit list --actor ann --kind invocation. --since 2026-01-31',
    'limb-bridge audit list --since 2h',
    'limb-bridge audit list --follow --node-id robot1',
    'limb-bridge audit list --jsonl --order oldest > audit.jsonl',
    'limb-bridge audit list --jsonl --follow --after 1200    goes on after the entry with seq 1200',
  ],
  'audit/verify': [
    'limb-bridge audit verify',
    'limb-bridge audit verify --seq 1204 --hash 5f0c...    is the row that you kept still there?',
  ],
  'invocation/approve': [
    'limb-bridge invocation approve         shows the invocations that wait with their params, and asks',
    'limb-bridge invocation approve INVOCATION    lets that one run, once',
  ],
  'invocation/deny': [
    'limb-bridge invocation deny            shows the invocations that wait, and asks which and why',
    'limb-bridge invocation deny INVOCATION --reason "somebody is in the room"',
  ],
  'invocation/cancel': ['limb-bridge invocation cancel iv_... --reason "not needed any more"'],
  'pairing/permit': [
    'limb-bridge pairing permit 300 --max 10    lets ten devices in within five minutes',
    'limb-bridge pairing permit 300 --waiting   takes those too that wait already',
    'limb-bridge pairing permit 0               closes the window',
  ],
  'policy/set': [
    'limb-bridge policy set agent1 cam1 camera gated',
    "limb-bridge policy set '*' '*' lock denied",
  ],
  'policy/explain': [
    'limb-bridge policy explain ann cam1 camera    which level holds, and why',
    'limb-bridge policy explain ann                what ann can still use',
  ],
  'principal/set-role': ['limb-bridge principal set-role ann viewer'],
  'principal/add': [
    'limb-bridge principal add dashboard viewer               makes a password and shows it once',
    'limb-bridge principal add dashboard viewer --password -  asks for it, or reads it from a pipe',
  ],
}

/** Adds the verbs that the words ask for: one, those of a group, or all. */
export function addVerbCommands(
  program: Command,
  context: CliContext,
  run: Run,
  asked: readonly string[],
): void {
  for (const name of askedVerbs(asked)) {
    const parts = name.split('/')
    const leaf = parts.pop() ?? name
    addVerb(group(program, parts), leaf, name, context, run)
  }
  const [first, second = 'export'] = asked
  if ((first === undefined || first === 'node') && second === 'export')
    addExportCommand(program, context, run)
}

function askedVerbs(asked: readonly string[]): readonly VerbName[] {
  const all = Object.keys(VERBS) as VerbName[]
  const [first] = asked
  if (first === undefined) return all
  const exact = all.filter((name) => name.split('/').every((part, i) => part === asked[i]))
  return exact.length > 0 ? exact : all.filter((name) => name.split('/')[0] === first)
}

function addVerb(parent: Command, leaf: string, name: VerbName, context: CliContext, run: Run): void {
  const verb: VerbDefinition = VERBS[name]
  const specs = name === 'node/import' ? [] : argumentsOf(verb)
  const command = parent
    .command(leaf)
    .summary(verb.summary)
    .description(`${verb.summary}\nNeeds the role ${verb.role}.`)
  if (name === 'node/import') {
    command.argument(
      '<file>',
      'a file of JSON Lines, one limb a line, a JSON array, or CSV with a header; `-` reads standard input',
    )
    command.option('--skip-paired', 'leave out limbs that are paired already: goes on where an import ended')
    jsonLinesOption(
      command,
      'print one JSON document a line for each limb, whole as soon as the limb is stored',
    )
  }
  for (const spec of specs) addArgument(command, spec, name)
  if (isList(verb)) command.option('--all', 'show every page, as without --limit')
  if (name === 'audit/list') {
    command.option('--follow', 'show what is there, then each new entry, until Ctrl-C')
    jsonLinesOption(command, 'print one JSON document a line: all entries, or as many as --limit says')
  }
  if (name === 'invoke')
    command.option('--output <file>', 'write the picture of the answer to this file; `-` is standard output')
  if (name === 'node/provision') labelOptions(command)
  if (ASKS_WHETHER.includes(name)) command.option('-y, --yes', 'do it without asking')
  connectionOptions(command)
  withExamples(command, EXAMPLES[name] ?? [])
  const flags = name === 'invoke' ? takeParamFlags(command) : undefined
  const positional = specs.filter((spec) => spec.positional)
  command.action(
    run(async () => {
      const options = command.opts<VerbOptions>()
      const given = command.processedArgs
      const values: Values = { ...command.opts<Values>() }
      for (const [i, spec] of positional.entries()) takePositional(values, spec, given[i])
      const args = await argsOf(context, specs, values)
      if (!flags) return perform(context, name, options, args, given)
      const { command: asked, nodeId } = args
      if (flags.helpAsked()) {
        print(context.io.stdout, command.helpInformation())
        return showParams(context, options, String(nodeId), String(asked))
      }
      return perform(context, name, options, args, given, flags)
    }),
  )
}

/** An argument that may be left out has an option of its name too: `invoke camera.snap cam1`, or `--node-id cam1`. */
function takePositional(values: Values, spec: ArgumentSpec, given: unknown): void {
  const isThere = given !== undefined && !(Array.isArray(given) && given.length === 0)
  if (!isThere) return
  const option = values[spec.key]
  if (option !== undefined && option !== given)
    throw usageError(`<${spec.name}> and --${spec.name} say different things; leave one of them out`)
  values[spec.key] = given
}

/** `policy/explain` of one thing is no list. */
function isListed(name: VerbName, args: Values): boolean {
  const one = name === 'policy/explain' && args.nodeId !== undefined && args.capability !== undefined
  return isList(VERBS[name]) && !one
}

function isList(verb: VerbDefinition): boolean {
  return 'after' in verb.args.shape
}

function addArgument(command: Command, spec: ArgumentSpec, verb: VerbName): void {
  const required = spec.required && ASKING[verb] !== spec.key
  const text = argumentText(spec, verb)
  if (spec.positional) {
    const several = BY_REQUEST.includes(verb) ? '...' : ''
    const argument = new Argument(required ? `<${spec.name}${several}>` : `[${spec.name}${several}]`, text)
    command.addArgument(spec.choices ? argument.choices(spec.choices) : argument)
    if (spec.required) return
  }
  const value = spec.kind === 'boolean' ? '' : ` <${spec.kind}>`
  const option = new Option(`--${spec.name}${value}`, text)
  if (spec.choices) option.choices(spec.choices)
  command.addOption(option.makeOptionMandatory(required))
}

function argumentText(spec: ArgumentSpec, verb: VerbName): string {
  if (spec.key === 'requestId' && BY_REQUEST.includes(verb)) return REQUEST_TEXT
  if (spec.kind === 'time') return `${spec.description}: ${TIME_HINT}`
  return spec.secret ? `${spec.description}; \`-\` reads it without echo` : spec.description
}

/** Params can be large, or secret, and arguments are neither: `-` reads standard input, `@file` a file. */
async function jsonText({ io }: CliContext, name: string, value: string): Promise<string> {
  if (value === '-') return readAll(io, MAX_JSON_BYTES)
  if (!value.startsWith('@')) return value
  try {
    return readFileSync(value.slice(1), 'utf8')
  } catch (error) {
    throw usageError(`--${name}: cannot read ${value.slice(1)}: ${messageOf(error)}`)
  }
}

const MAX_JSON_BYTES = 16_777_216

async function argsOf(context: CliContext, specs: readonly ArgumentSpec[], values: Values): Promise<Values> {
  const args: Values = {}
  for (const spec of specs) {
    const value = values[spec.key]
    if (value === undefined) continue
    if (spec.kind === 'json' && typeof value === 'string') {
      args[spec.key] = parseArgument(spec, await jsonText(context, spec.name, value), 0)
    } else if (spec.secret && value === '-') args[spec.key] = await readSecret(context.io, spec.name)
    else
      args[spec.key] = typeof value === 'string' ? parseArgument(spec, value, context.clock.wallMs()) : value
  }
  return args
}

async function perform(
  context: CliContext,
  name: VerbName,
  options: VerbOptions,
  args: Values,
  given: readonly unknown[],
  flags?: ParamFlags,
): Promise<void> {
  const asking = ASKING[name]
  const asks = asking !== undefined && args[asking] === undefined
  const words = BY_REQUEST.includes(name) ? (args.requestId as readonly string[] | undefined) : undefined
  if (!asks && name !== 'node/import') checkGiven(name, args, words)
  const { output } = options
  if (output !== undefined) checkPictureFile(output)
  if (name === 'audit/list' && isLineByLine(options)) return auditLines(context, options, args)
  const target = await targetOf(context, options)
  const bridge = await openBridge(target, { clock: context.clock })
  try {
    if (name === 'node/import') {
      const list = new Output(context, options)
      return await importNodes(context, bridge, String(given[0]), options.skipPaired === true, list)
    }
    const sure = options.yes === true
    let data: unknown
    if (asks) data = await decideAsked(context, bridge, name, args, sure)
    else if (words) {
      const { requestId: _, ...rest } = args
      data = await decideRequests(context, bridge, { verb: name, words, args: rest, sure })
    } else {
      if (!sure) await askBeforeEnd(context, bridge, name, args)
      const whole = flags ? await withParams(bridge, args, flags) : args
      data = await dataOf(context, bridge, target.principal, name, whole)
    }
    if (data === NOTHING_DONE) return
    if (output !== undefined) data = savePictures(data, output, context.io.stdout)
    if (output === '-') return
    const format = new Output(context, options)
    format.answer(data ?? {}, () => show(context, name, data, args))
    if (name === 'node/provision') await writeLabel(context, options, data, format.isText)
    const failure = softFailureOf(name, data)
    if (failure !== undefined) throw new SoftFailure(failure)
  } finally {
    await bridge.close()
  }
}

async function showParams(
  context: CliContext,
  options: VerbOptions,
  nodeId: string,
  command: string,
): Promise<void> {
  const bridge = await openBridge(await targetOf(context, options), { clock: context.clock })
  try {
    print(context.io.stdout, await paramsHelp(bridge, nodeId, command))
  } finally {
    await bridge.close()
  }
}

const NOTHING_DONE = Symbol('nothing done')

function checkGiven(name: VerbName, args: Values, words: readonly string[] | undefined): void {
  const verb: VerbDefinition = VERBS[name]
  const each = words === undefined ? [args] : words.map((requestId) => ({ ...args, requestId }))
  for (const one of each) checkArguments(verb, argumentsOf(verb), one)
}

async function decideAsked(
  context: CliContext,
  bridge: Bridge,
  name: VerbName,
  args: Values,
  sure: boolean,
): Promise<unknown> {
  const decided = await askedArgs(context, bridge, name, args, sure)
  if (decided === undefined) return NOTHING_DONE
  const whole = { ...decided, ...args }
  checkArguments(VERBS[name], argumentsOf(VERBS[name]), whole)
  return bridge.request(name, whole)
}

async function askedArgs(
  context: CliContext,
  bridge: Bridge,
  name: VerbName,
  args: Values,
  sure: boolean,
): Promise<object | undefined> {
  if (name === 'pairing/approve') return chooseRequest(context, bridge, sure)
  const decision: ApprovalDecision = name === 'invocation/deny' ? 'deny' : 'approve'
  const reason = args.reason === undefined ? undefined : String(args.reason)
  return decideWaiting(context, bridge, { decision, reason, sure })
}

async function dataOf(
  context: CliContext,
  bridge: Bridge,
  principal: string,
  name: VerbName,
  args: Values,
): Promise<unknown> {
  if (name === 'invoke') return invokeWithProgress(context, bridge, principal, args)
  if (isListed(name, args) && args.limit === undefined) return allPages(bridge, name, args)
  if (name === 'pairing/permit' && args.waiting === undefined && (await takesWaiting(context, bridge, args)))
    return bridge.request(name, { ...args, waiting: true })
  return bridge.request(name, args)
}

function show(context: CliContext, name: VerbName, data: unknown, args: Values): void {
  const { io, clock } = context
  print(io.stdout, humanText(name, data, { nowMs: clock.wallMs(), width: widthOf(io), args }))
  const next = asRow(data).next
  if (typeof next === 'string')
    print(context.io.stderr, `There is more: --after ${JSON.stringify(next)}, or --all.`)
}
