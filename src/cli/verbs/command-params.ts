import type { Command } from 'commander'
import { didYouMean, meantOption } from '../../kernel/did-you-mean.ts'
import { escapeText } from '../../kernel/escape-text.ts'
import type { CommandDescription, ValueSchema } from '../../protocol/descriptions.ts'
import type { ShownDescription } from '../../protocol/shown-description.ts'
import { usageError } from '../exit.ts'
import type { Bridge } from '../session/session.ts'
import { kebab } from './arguments.ts'

/** Parameters of a limb's command as options: `invoke lamp.set --node-id lamp1 --brightness 40`. */

type Flags = ReadonlyMap<string, string | true>

/** Collects what `invoke` is given beside its own options. */
export interface ParamFlags {
  /** Returns the options that are none of `invoke`'s own, by their names; true is one without a value. */
  given(): Flags
  /** Lists the names of `invoke`'s own options. */
  readonly own: readonly string[]
  /** Returns whether help is asked for, about a limb that is named. */
  helpAsked(): boolean
}

/** Lets the command take options that only the description of a limb's command can explain. */
export function takeParamFlags(command: Command): ParamFlags {
  let found: SplitOptions = { own: [], flags: new Map(), help: false }
  const parse = command.parseOptions.bind(command)
  command.parseOptions = (argv) => {
    found = splitOptions(command, argv)
    return parse(found.own)
  }
  const own = () => command.options.flatMap(({ long }) => (long ? [long.slice(2)] : []))
  return {
    given: () => found.flags,
    helpAsked: () => found.help,
    get own() {
      return own()
    },
  }
}

interface SplitOptions {
  readonly own: string[]
  readonly flags: Map<string, string | true>
  readonly help: boolean
}

function splitOptions(command: Command, argv: readonly string[]): SplitOptions {
  const takesValue = new Map<string, boolean>()
  for (const { long, short, required, optional } of command.options)
    for (const name of [long, short]) if (name) takesValue.set(name, required || optional)
  const split = { own: [] as string[], flags: new Map<string, string | true>() }
  // Those before the first option are not among `argv`: the parent has them, behind the name of this command.
  let words = Math.max(0, (command.parent?.args.length ?? 0) - argv.length - 1)
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? ''
    if (word === '--') {
      split.own.push(...argv.slice(i))
      break
    }
    const [name = '', value] = word.startsWith('--') ? splitOnce(word) : [word]
    if (!word.startsWith('--') || takesValue.has(name) || HELP.has(word)) {
      split.own.push(word)
      if (!word.startsWith('-')) words++
      if (value === undefined && takesValue.get(name) && i + 1 < argv.length) split.own.push(argv[++i] ?? '')
      continue
    }
    const next = argv[i + 1]
    const follows = value === undefined && next !== undefined && !/^--?[A-Za-z]/.test(next)
    split.flags.set(name.slice(2), value ?? (follows ? next : true))
    if (follows) i++
  }
  // The command and the limb.
  const named = words > 1 || split.own.some((word) => /^--node-id(=|$)/.test(word))
  const help = named && split.own.some((word) => HELP.has(word))
  return { ...split, own: help ? split.own.filter((word) => !HELP.has(word)) : split.own, help }
}

const HELP = new Set(['--help', '-h'])

function splitOnce(word: string): [string, string?] {
  const at = word.indexOf('=')
  return at < 0 ? [word] : [word.slice(0, at), word.slice(at + 1)]
}

/** Returns the arguments of `invoke` with the flags among its `params`. @throws CliError when nothing explains a flag. */
export async function withParams(
  bridge: Bridge,
  args: Readonly<Record<string, unknown>>,
  { given: flagsGiven, own }: ParamFlags,
): Promise<Record<string, unknown>> {
  const flags = flagsGiven()
  if (flags.size === 0) return { ...args }
  const name = String(args.command)
  if (args.nodeId === undefined) {
    const [first] = flags.keys()
    throw usageError(
      `--${first}${meantText(first ?? '', own)}: name the limb with --node-id, so that its description can say what ${name} takes; or use --params`,
    )
  }
  const { input } = await describedCommand(bridge, String(args.nodeId), name)
  const named: Record<string, unknown> = {}
  for (const [flag, text] of flags) {
    const [key, schema] = propertyOf(input, flag, name, own)
    named[key] = paramValue(flag, schema, text)
  }
  const { params } = args
  return { ...args, params: { ...(typeof params === 'object' ? params : {}), ...named } }
}

/** Writes what the command takes, as options. */
export async function paramsHelp(bridge: Bridge, nodeId: string, name: string): Promise<string> {
  const { title, description, input, timeoutSeconds } = await describedCommand(bridge, nodeId, name)
  const about = [title, description].filter((text) => text !== undefined).join(': ')
  const rows = Object.entries(input?.properties ?? {}).map(([key, schema]) => {
    const required = input?.required?.includes(key) ? ' (required)' : ''
    const option = `  --${kebab(key)} ${kindText(schema)}`
    return `${option.padEnd(34)}${wordsOf(schema)}${required}`
  })
  const head = `Parameters of ${name} on ${nodeId}${about === '' ? '' : ` (${about})`}:`
  const none = input === undefined ? 'the limb does not describe them: use --params' : 'it takes none'
  const time = timeoutSeconds === undefined ? [] : [`It may take ${timeoutSeconds} seconds.`]
  return [head, ...(rows.length === 0 ? [`  ${none}`] : rows), ...time].map(escapeText).join('\n')
}

async function describedCommand(bridge: Bridge, nodeId: string, name: string): Promise<CommandDescription> {
  const limb = (await bridge.request('node/get', { nodeId })) as { description?: ShownDescription }
  const commands = limb.description?.commands ?? []
  const found = commands.find((each) => each.name === name)
  if (found) return found
  const meant = didYouMean(
    name,
    commands.map((each) => each.name),
  )
  const hint = meant === undefined ? '' : `; did you mean ${meant}?`
  throw usageError(`${nodeId} has no approved command ${JSON.stringify(name)}${hint}`)
}

function propertyOf(
  input: ValueSchema | undefined,
  flag: string,
  name: string,
  own: readonly string[],
): [string, ValueSchema] {
  const properties = Object.entries(input?.properties ?? {})
  const found = properties.find(([key]) => key === flag || kebab(key) === flag)
  if (found) return found
  if (input === undefined) {
    throw usageError(
      `--${flag}${meantText(flag, own)}: the limb does not describe what ${name} takes; use --params`,
    )
  }
  const hint = meantText(flag, [...properties.map(([key]) => kebab(key)), ...own])
  const known = properties.map(([key]) => `--${kebab(key)}`).join(', ') || 'no parameters'
  throw usageError(`--${flag}: no option of invoke, and ${name} takes ${known}${hint}`)
}

/** Names the option that was meant, if there is one. */
function meantText(flag: string, names: readonly string[]): string {
  const meant = meantOption(flag, names)
  return meant === undefined ? '' : ` (did you mean --${meant}?)`
}

function paramValue(flag: string, { type }: ValueSchema, text: string | true): unknown {
  if (type === 'boolean') {
    if (text === true || text === 'true') return true
    if (text === 'false') return false
    throw usageError(`--${flag}: must be true or false`)
  }
  if (text === true) throw usageError(`--${flag}: needs a value`)
  if (type === 'string') return text
  if (type === 'integer' || type === 'number') {
    const value = Number(text)
    const fits =
      text.trim() !== '' && Number.isFinite(value) && (type === 'number' || Number.isInteger(value))
    if (!fits)
      throw usageError(
        `--${flag}: ${JSON.stringify(text)} is no ${type === 'integer' ? 'whole number' : 'number'}`,
      )
    return value
  }
  try {
    return JSON.parse(text)
  } catch {
    if (type === undefined) return text
    throw usageError(`--${flag}: must be JSON, of the type ${type}`)
  }
}

function kindText({ type, enum: choices }: ValueSchema): string {
  if (type === 'boolean') return '[true|false]'
  return choices === undefined ? `<${type ?? 'value'}>` : `<${choices.join('|')}>`
}

function wordsOf(schema: ValueSchema): string {
  const { title, description, unit, minimum, maximum } = schema
  const bounds = [
    ...(minimum === undefined ? [] : [`from ${minimum}`]),
    ...(maximum === undefined ? [] : [`to ${maximum}`]),
    ...(unit === undefined ? [] : [unit]),
    ...(schema.default === undefined ? [] : [`${JSON.stringify(schema.default)} when absent`]),
  ].join(' ')
  return [description ?? title, bounds].filter((text) => text).join('; ')
}
