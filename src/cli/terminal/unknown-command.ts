import { didYouMean, meantOption, meantWords } from '../../kernel/did-you-mean.ts'
import { VERBS } from '../../protocol/verbs.ts'

/** The advice that goes with a command that nobody knows. */

const SERVICE = 'the service is one of systemd'

/** Words that belong to the service, not to the command line of the bridge. */
const ADVICE: Readonly<Record<string, string>> = {
  start: `\`limb-bridge serve\` runs the bridge here; ${SERVICE}: \`sudo systemctl start limb-bridge\`.`,
  run: `\`limb-bridge serve\` runs the bridge here; ${SERVICE}: \`sudo systemctl start limb-bridge\`.`,
  stop: `Ctrl-C ends a \`limb-bridge serve\`; ${SERVICE}: \`sudo systemctl stop limb-bridge\`.`,
  restart: `End \`limb-bridge serve\` and start it again; ${SERVICE}: \`sudo systemctl restart limb-bridge\`.`,
  reload: `SIGHUP makes the bridge read its configuration again; ${SERVICE}: \`sudo systemctl reload limb-bridge\`.`,
  logs: 'The log of the service: `journalctl -u limb-bridge`; what was decided: `limb-bridge audit list`.',
  log: 'The log of the service: `journalctl -u limb-bridge`; what was decided: `limb-bridge audit list`.',
}

/** Words of other programs for what commands of this one do, and for what they are about. */
const SYNONYMS: ReadonlyMap<string, readonly string[]> = new Map([
  ['ls', ['list']],
  ['show', ['get', 'list']],
  ['info', ['get', 'status']],
  ['rm', ['remove', 'revoke', 'delete', 'forget']],
  ['del', ['delete', 'remove', 'revoke', 'forget']],
  ['delete', ['remove', 'revoke', 'forget']],
  ['remove', ['revoke', 'delete', 'forget']],
  ['create', ['add', 'provision']],
  ['new', ['add', 'provision']],
  ['passwd', ['set-password']],
  ['role', ['set-role']],
  ['limb', ['node']],
  ['limbs', ['node']],
  ['devices', ['node']],
  ['user', ['principal']],
  ['users', ['principal']],
  ['version', ['status']],
])

/** Commands that nobody shall run because a word looks like them: they replace what is there. */
const NEVER_GUESSED = 'restore'

/** The commands of other groups that are named; a longer list is no advice. */
const MAX_NAMED = 4

/** A command that has others below it, and the words that lead to it. */
export interface CommandGroup {
  readonly path: readonly string[]
  /** Lists the names of its commands. */
  readonly names: readonly string[]
}

/** Returns what Commander says of a wrong command line, with what to do about a command that nobody knows. */
export function withAdvice(text: string, group: CommandGroup): string {
  const word = /unknown command '([^']*)'/.exec(text)?.[1]
  if (word === undefined) return text
  const [error = '', guess = ''] = text.split('\n')
  const parsers = guess === '' || guess.includes(NEVER_GUESSED) ? '' : `${guess}\n`
  const advice = (group.path.length === 0 && ADVICE[word]) || meantCommand(word, group) || parsers
  return `${error}\n${advice}${advice === '' || advice.endsWith('\n') ? '' : ' '}\`limb-bridge --help\` lists the commands.\n`
}

/** Names the commands that were meant: of the same group, or of all. */
function meantCommand(word: string, { path, names }: CommandGroup): string {
  const verbs = Object.keys(VERBS).filter((name) => name.includes('/'))
  const called = verbs.filter((name) => leafOf(name) === word)
  const near = namesMeant(word, names)
  // `rename` is a command somewhere else rather than a slip for one that is here.
  if (near.length > 0 && (called.length === 0 || path.length > 0)) return asGuess(near)
  const leaves = called.length > 0 ? [word] : namesMeant(word, [...new Set(verbs.map(leafOf))])
  const meant = verbs.filter((name) => leaves.includes(leafOf(name)))
  if (meant.length === 0) return ''
  const shown = meant.slice(0, MAX_NAMED).map((name) => `\`limb-bridge ${name.replace('/', ' ')}\``)
  return `${shown.join(' or ')}?`
}

function leafOf(verb: string): string {
  return verb.slice(verb.indexOf('/') + 1)
}

function namesMeant(word: string, names: readonly string[]): readonly string[] {
  const known = word.length > 3 ? (didYouMean(word, [...SYNONYMS.keys()]) ?? word) : word
  const others = SYNONYMS.get(known)?.filter((name) => names.includes(name)) ?? []
  if (others.length > 0) return others
  return meantWords(word, names).filter((name) => name !== NEVER_GUESSED || isSlip(word, name))
}

function asGuess(names: readonly string[]): string {
  const [first] = names
  return names.length === 1 ? `(Did you mean ${first}?)\n` : `(Did you mean one of ${names.join(', ')}?)\n`
}

/** Names the option that was meant where the parser, which looks for slips of the pen alone, names none. */
export function withMeantOption(text: string, options: readonly string[]): string {
  const flag = /^error: unknown option '--([^'=]*)/.exec(text)?.[1]
  if (flag === undefined || text.includes('Did you mean')) return text
  const meant = meantOption(
    flag,
    options.map((name) => name.slice(2)),
  )
  return meant === undefined ? text : text.replace(/\n|$/, `\n(Did you mean --${meant}?)\n`)
}

/** True if a letter is missing, or is one too many: nothing else is taken for a slip here. */
function isSlip(word: string, name: string): boolean {
  const [short, long] = word.length < name.length ? [word, name] : [name, word]
  if (long.length - short.length !== 1) return false
  return Array.from(long, (_, i) => long.slice(0, i) + long.slice(i + 1)).includes(short)
}
