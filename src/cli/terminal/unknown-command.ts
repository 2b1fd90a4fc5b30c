import { meantOption } from '../../kernel/did-you-mean.ts'
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

/** Commands that nobody shall run because a word looks like them: they replace what is there. */
const NEVER_GUESSED = ['restore']

/** Returns what Commander says of a wrong command line, with what to do about a command that nobody knows. */
export function withAdvice(text: string): string {
  const word = /unknown command '([^']*)'/.exec(text)?.[1]
  if (word === undefined) return text
  const [error = ''] = text.split('\n')
  const guess = NEVER_GUESSED.some((name) => text.includes(`Did you mean ${name}?`) && !isSlip(word, name))
  const message = guess || ADVICE[word] !== undefined ? `${error}\n` : text
  return `${message}${ADVICE[word] ?? verbsCalled(word)}\`limb-bridge --help\` lists the commands.\n`.replace(
    /(?<=\.)(?=`limb-bridge --help)/,
    ' ',
  )
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

/** `approve` alone may be one of several. */
function verbsCalled(word: string): string {
  const meant = Object.keys(VERBS).filter((name) => name.endsWith(`/${word}`))
  if (meant.length === 0) return ''
  return `${meant.map((name) => `\`limb-bridge ${name.replace('/', ' ')}\``).join(' or ')}? `
}
