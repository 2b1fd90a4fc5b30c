import type { Command } from 'commander'
import { buildProgram } from '../../src/cli/command-line.ts'
import { LEAVES, SECTIONS } from '../../src/host/config/leaves.ts'
import { yamlValue } from '../../src/host/config/show.ts'
import { configuration } from '../../src/host/process/command-line-config.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { example, heading, item, paragraph, subheading, title } from './roff.ts'

/** limb-bridge(1) from the tree of commands, limb-bridge.yaml(5) from the schema of the configuration. */

async function program(version: string): Promise<Command> {
  const quiet = { write: () => true } as unknown as NodeJS.WriteStream
  const io = { stdin: process.stdin, stdout: quiet, stderr: quiet, env: {}, onInterrupt: () => () => {} }
  // Nothing is ever run: the tree of commands is only read.
  const never = async () => {
    throw new Error('a manual page runs no command')
  }
  const maintenance = { restore: never, doctor: never, initTls: never, copyStore: never }
  const tools = { configuration, maintenance, serve: never, checkDevice: never }
  const world = { io, clock: systemClock, version, ...tools }
  return buildProgram(world, () => async () => {})
}

/** The commands that do something, with their full names: `node list`. */
function leaves(command: Command, path = ''): { path: string; command: Command }[] {
  const children = command.commands.filter((child) => child.name() !== 'help')
  const here = path !== '' && children.length === 0 ? [{ path, command }] : []
  return [...here, ...children.flatMap((child) => leaves(child, `${path} ${child.name()}`.trim()))]
}

function argumentsOf(command: Command): string {
  return command.registeredArguments
    .map((argument) => (argument.required ? `<${argument.name()}>` : `[${argument.name()}]`))
    .join(' ')
}

/** Options that every verb has are told once. */
function commonOptions(all: readonly { command: Command }[]): Set<string> {
  const counts = new Map<string, number>()
  for (const { command } of all) {
    for (const option of command.options) {
      counts.set(option.flags, (counts.get(option.flags) ?? 0) + 1)
    }
  }
  return new Set([...counts].filter(([, count]) => count > all.length / 2).map(([flags]) => flags))
}

function commandItem({ path, command }: { path: string; command: Command }, common: Set<string>): string[] {
  const own = command.options.filter((option) => !common.has(option.flags) && !option.hidden)
  const options = own.map((option) => item(option.flags, option.description))
  return [
    item(`${path} ${argumentsOf(command)}`.trim(), command.description()),
    ...(options.length === 0 ? [] : ['.RS', ...options, '.RE']),
  ]
}

function commonItems(all: readonly { command: Command }[], common: Set<string>): string[] {
  const seen = new Map(all.flatMap(({ command }) => command.options.map((option) => [option.flags, option])))
  return [...common].flatMap((flags) => {
    const option = seen.get(flags)
    return option ? [item(option.flags, option.description)] : []
  })
}

const FILES: readonly (readonly [string, string])[] = [
  ['/etc/limb-bridge/limb-bridge.yaml', "The service's configuration, see limb-bridge.yaml(5)."],
  [
    '/var/lib/limb-bridge/limb.sqlite',
    'The database: pairings, policies, principals, audit log, MQTT sessions.',
  ],
  [
    '/var/lib/limb-bridge/admin-password',
    'The password that the first start made for the principal `admin`.',
  ],
  ['/run/limb-bridge/control.sock', 'The control socket; members of the group `limb-bridge` may use it.'],
  [
    '/etc/credstore/limb-bridge.admin-password',
    'If there: the password of `admin` at the first start, in place of a made one.',
  ],
]

const EXIT_CODES: readonly (readonly [string, string])[] = [
  ['0', 'Done.'],
  ['1', 'The bridge refused it, or could not start.'],
  ['2', 'Wrong usage.'],
  ['3', 'No bridge was reached, or the sign-in was refused.'],
  ['4', 'There is no such thing.'],
  ['70', 'A broken invariant; please report it.'],
  ['78', 'The configuration has mistakes.'],
]

const SERVICE = `The package runs \`limb-bridge serve\` as limb-bridge.service. Its MQTT port is opened by limb-bridge.socket and its
control socket by limb-bridge-control.socket before it starts; both stay open while it restarts, so that clients wait
and are not refused. SIGHUP (\`systemctl reload\`) takes over what changed in the configuration without dropping a
session and logs which keys need a restart. SIGTERM stops it within 5 seconds. To stop it for good, stop the sockets
too:`

export async function manPage(version: string, epochSeconds: number): Promise<string> {
  const root = await program(version)
  const all = leaves(root)
  const common = commonOptions(all)
  return `${[
    title('limb-bridge', 1, epochSeconds, version),
    heading('Name'),
    'limb\\-bridge \\- pairing, presence and access policy for devices, over MQTT',
    heading('Synopsis'),
    '.B limb\\-bridge\n.I command\n[\\fIoptions\\fR]',
    heading('Description'),
    paragraph(root.description()),
    heading('Commands'),
    ...all.flatMap((entry) => commandItem(entry, common)),
    heading('Options of most commands'),
    ...commonItems(all, common),
    heading('The service'),
    paragraph(SERVICE),
    example('systemctl stop limb-bridge.socket limb-bridge-control.socket limb-bridge.service'),
    heading('Exit status'),
    ...EXIT_CODES.map(([code, meaning]) => item(code, meaning)),
    heading('Files'),
    ...FILES.map(([file, what]) => item(file, what)),
    heading('See also'),
    paragraph('limb-bridge.yaml(5), mosquitto_pub(1), mosquitto_sub(1), systemd.socket(5)'),
  ].join('\n')}\n`
}

const FILE_INTRODUCTION = `YAML with one mapping per section. A key that is absent has its default; an unknown key or a bad value stops the
start, with its place and what is allowed. \`limb-bridge config check FILE\` checks a file, \`limb-bridge config show\`
says what holds and where each value comes from. An environment variable wins over the file.`

export function configManPage(version: string, epochSeconds: number): string {
  const sections = SECTIONS.flatMap(({ key, description, leaves: keys }) => [
    subheading(key),
    paragraph(description),
    ...keys.map((leaf) => {
      const preset = leaf.defaultText ?? `\`${yamlValue(leaf.default)}\``
      const env = leaf.env === undefined ? '' : ` Environment: \`${leaf.env}\`.`
      const reload = leaf.live ? '' : ' Needs a restart.'
      const words = `${leaf.description} Allowed: ${leaf.allowed}. Default: ${preset}.${env}${reload}`
      return item(leaf.path, words.replaceAll(/\s+/g, ' '))
    }),
  ])
  return `${[
    title('limb-bridge.yaml', 5, epochSeconds, version),
    heading('Name'),
    'limb\\-bridge.yaml \\- configuration of limb\\-bridge(1)',
    heading('Description'),
    paragraph(FILE_INTRODUCTION),
    heading(`Settings (${LEAVES.length})`),
    ...sections,
    heading('See also'),
    paragraph('limb-bridge(1)'),
  ].join('\n')}\n`
}
