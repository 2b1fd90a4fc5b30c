import { Argument, type Command } from 'commander'
import type { Run } from '../command-options.ts'
import type { CliContext } from '../context.ts'
import { print } from '../terminal/text.ts'

/** Completion for shells, made from the tree of commands itself. */

const SHELLS = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof SHELLS)[number]

/** One command as a shell sees it. */
interface Place {
  /** `node list`; empty for the program. */
  readonly path: string
  readonly commands: readonly { name: string; summary: string }[]
  readonly options: readonly {
    flag: string
    summary: string
    choices: readonly string[]
    takesFile: boolean
  }[]
  readonly choices: readonly string[]
}

function placesOf(command: Command, path = ''): Place[] {
  const children = command.commands
  const here: Place = {
    path,
    commands: children.map((child) => ({
      name: child.name(),
      summary: child.summary() || child.description(),
    })),
    options: command.options.map((option) => ({
      flag: option.long ?? option.flags,
      summary: option.description,
      choices: option.argChoices ?? [],
      takesFile: /<(file|path)>/.test(option.flags),
    })),
    choices: command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
  }
  return [here, ...children.flatMap((child) => placesOf(child, `${path} ${child.name()}`.trim()))]
}

/** Every word of a path is a plain name of the table; descriptions are quoted. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

function wordsAt(place: Place): string {
  return [
    ...place.commands.map((command) => command.name),
    ...place.choices,
    ...place.options.map((option) => option.flag),
    '--help',
  ].join(' ')
}

/** Writes which commands there are below which, so that arguments are not taken for them. */
function pathCases(places: readonly Place[], indent: string): string {
  return places
    .flatMap((place) => place.commands.map((child) => `${place.path} ${child.name}`.trim()))
    .map((path) => `${indent}${quoted(path)}) place="$next" ;;`)
    .join('\n')
}

function choiceCases(places: readonly Place[], offer: (words: string) => string): string {
  return places
    .flatMap((place) =>
      place.options
        .filter((option) => option.choices.length > 0)
        .map(
          (option) =>
            `    ${quoted(`${place.path} ${option.flag}`)}) ${offer(option.choices.join(' '))}; return ;;`,
        ),
    )
    .join('\n')
}

function fileFlags(places: readonly Place[]): string {
  const flags = new Set(
    places.flatMap((place) => place.options.filter((o) => o.takesFile).map((o) => o.flag)),
  )
  return [...flags].join('|')
}

/** Picks the options out of the help that tells what a command of a limb takes; nothing else of it reaches a shell. */
const PARAMS_OF_HELP = String.raw`sed -n '/^Parameters of /,$s/^  \(--[A-Za-z0-9-]*\) .*/\1/p'`

function bash(places: readonly Place[]): string {
  const words = places
    .map((place) => `    ${quoted(place.path)}) words=${quoted(wordsAt(place))} ;;`)
    .join('\n')
  return `# limb-bridge completion for bash: source <(limb-bridge completion bash)
_limb_bridge() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} place='' next word words=''
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    next="\${place:+$place }$word"
    case "$next" in
${pathCases(places, '      ')}
    esac
  done
  case "$previous" in
    ${fileFlags(places)}) COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  case "$place $previous" in
${choiceCases(places, (choices) => `COMPREPLY=($(compgen -W ${quoted(choices)} -- "$current"))`)}
  esac
  case "$place" in
${words}
  esac
  if [[ $place == invoke && $current == -* && " \${COMP_WORDS[*]} " == *' --node-id '* ]]; then
    words+=" $("\${COMP_WORDS[@]:0:COMP_CWORD}" --help 2>/dev/null | ${PARAMS_OF_HELP})"
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ $place == 'node import' || $place == 'config check' ]] && COMPREPLY+=($(compgen -f -- "$current"))
}
complete -F _limb_bridge limb-bridge
`
}

function zshItems(place: Place): string {
  const items = [
    ...place.commands.map((command) => [command.name, command.summary]),
    ...place.choices.map((choice) => [choice, '']),
    ...place.options.map((option) => [option.flag, option.summary]),
  ]
  return items
    .map(([name = '', summary = '']) =>
      quoted(`${name}:${summary.replaceAll(':', '\\:').replaceAll('\n', ' ')}`),
    )
    .join(' ')
}

function zsh(places: readonly Place[]): string {
  const items = places.map((place) => `    ${quoted(place.path)}) items=(${zshItems(place)}) ;;`).join('\n')
  return `#compdef limb-bridge
# limb-bridge completion for zsh: limb-bridge completion zsh > "\${fpath[1]}/_limb-bridge"
_limb_bridge() {
  local place='' next word
  local -a items
  for word in "\${(@)words[2,CURRENT-1]}"; do
    next="\${place:+$place }$word"
    case "$next" in
${pathCases(places, '      ')}
    esac
  done
  case "\${words[CURRENT-1]}" in
    ${fileFlags(places)}) _files; return ;;
  esac
  case "$place \${words[CURRENT-1]}" in
${choiceCases(places, (choices) => `compadd -- ${choices}`)}
  esac
  case "$place" in
${items}
  esac
  if [[ $place == invoke && " $words " == *' --node-id '* ]]; then
    items+=("\${(@f)$("\${(@)words[1,CURRENT-1]}" --help 2>/dev/null | ${PARAMS_OF_HELP})}")
  fi
  _describe 'limb-bridge' items
  [[ $place == 'node import' || $place == 'config check' ]] && _files
}
if [[ $funcstack[1] == _limb-bridge ]]; then _limb_bridge "$@"; else compdef _limb_bridge limb-bridge; fi
`
}

function fishPlace(place: Place): string[] {
  const here = `-n "__limb_bridge_at ${quoted(place.path)}"`
  return [
    ...place.commands.map(
      (command) => `complete -c limb-bridge -f ${here} -a ${command.name} -d ${fishQuoted(command.summary)}`,
    ),
    ...place.choices.map((choice) => `complete -c limb-bridge -f ${here} -a ${choice}`),
    ...place.options.map((option) => {
      const value =
        option.choices.length > 0
          ? ` -x -a ${quoted(option.choices.join(' '))}`
          : option.takesFile
            ? ' -r'
            : ''
      return `complete -c limb-bridge ${here} -l ${option.flag.replace(/^--/, '')}${value} -d ${fishQuoted(option.summary)}`
    }),
  ]
}

/** Quotes a text for fish, where a quote inside quotes is escaped with a backslash. */
function fishQuoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\n', ' ')}'`
}

function fish(places: readonly Place[]): string {
  const paths = places.filter((place) => place.path !== '').map((place) => quoted(place.path))
  return `# limb-bridge completion for fish: limb-bridge completion fish > ~/.config/fish/completions/limb-bridge.fish
function __limb_bridge_at
  set -l place
  for word in (commandline -opc)[2..-1]
    set -l next (string join ' ' -- $place $word)
    if contains -- "$next" ${paths.join(' ')}
      set place "$next"
    end
  end
  test "$place" = "$argv[1]"
end
function __limb_bridge_params
  set -l words (commandline -opc)
  $words[1] $words[2..-1] --help 2>/dev/null | ${PARAMS_OF_HELP}
end
${places.flatMap(fishPlace).join('\n')}
complete -c limb-bridge -n "__limb_bridge_at 'invoke'; and contains -- --node-id (commandline -opc)" -a '(__limb_bridge_params)'
`
}

const WRITERS: Readonly<Record<Shell, (places: readonly Place[]) => string>> = { bash, zsh, fish }

function completionScript(program: Command, shell: Shell): string {
  return WRITERS[shell](placesOf(program))
}

export function addCompletionCommand(program: Command, context: CliContext, run: Run): void {
  const command = program
    .command('completion')
    .summary('Print the completion script of a shell.')
    .description('Print the completion script of a shell. Its first lines say how to use it.')
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
  command.action(
    run(async () => {
      print(context.io.stdout, completionScript(program, command.processedArgs[0] as Shell))
    }),
  )
}
