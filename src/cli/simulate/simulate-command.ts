import { type Command, InvalidArgumentError, Option } from 'commander'
import { LIMITS } from '../../protocol/limits.ts'
import { isName } from '../../protocol/names.ts'
import { type Run, withExamples } from '../command-options.ts'
import type { CliContext } from '../context.ts'
import { EXIT, unreachable, usageError } from '../exit.ts'
import { type Bridge, openBridge } from '../session/session.ts'
import { type ConnectionOptions, settingsOf, socketPath, targetOf } from '../session/target.ts'
import { clip, print, shown } from '../terminal/text.ts'
import { FleetApproval } from './fleet-approval.ts'
import type { FleetCounts, SimulatedLimb } from './simulated-limb.ts'
import { chanceOf } from './simulated-random.ts'
import { keptSecret } from './simulated-secret.ts'

/** `simulate`: pretended limbs, for demonstrations and tests. */

interface SimulateOptions {
  readonly nodes: number
  readonly url?: string
  readonly heartbeatSeconds: number
  readonly dropPercent: number
  readonly prefix: string
  readonly approve?: boolean
  readonly seconds?: number
  readonly deterministic?: string
  readonly socket?: string
  readonly root?: string
  readonly config?: string
}

/** One process and its sockets; more limbs are several simulators. */
const MAX_NODES = 20_000
/** The pause between two new connections: a start is no storm, unless several simulators make one. */
const STAGGER_MS = 5
const PROGRESS_MS = 1000
/** The time until the hint that limbs wait: the open window approves sooner than that. */
const PENDING_HINT_MS = 5000

function bounded(min: number, max: number) {
  return (text: string): number => {
    const value = /^\d{1,9}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    throw new InvalidArgumentError(`It must be a number from ${min} to ${max}.`)
  }
}

function whole(min: number, max: number) {
  const parse = bounded(min, max)
  return (text: string): number => {
    const value = parse(text)
    if (Number.isInteger(value)) return value
    throw new InvalidArgumentError('It must be a whole number.')
  }
}

export function addSimulateCommand(program: Command, context: CliContext, run: Run): void {
  const command = program
    .command('simulate')
    .summary('Pretend to be limbs that register, send heartbeats, answer invocations, drop and reconnect.')
    .description(
      'Pretend to be limbs: they register with keys of their own, send heartbeats, lose the connection and come back, ' +
        'and answer every invocation with what it asked for. The secret of their keys is kept beside the control ' +
        'socket, so that the next run is the same limbs. Ctrl-C ends it.',
    )
    .addOption(new Option('--nodes <count>', 'how many limbs').argParser(whole(1, MAX_NODES)).default(20))
    .option(
      '--url <url>',
      'the bridge to connect to: mqtt://, mqtts://, ws:// or wss://; the listener of the configuration when absent',
    )
    .addOption(
      new Option('--heartbeat-seconds <seconds>', 'seconds between two heartbeats')
        .argParser(bounded(0.1, LIMITS.heartbeatSecondsMax))
        .default(5),
    )
    .addOption(
      new Option('--drop-percent <percent>', 'how likely a limb loses its connection at each heartbeat')
        .argParser(bounded(0, 100))
        .default(1),
    )
    .addOption(new Option('--prefix <name>', 'name the limbs <prefix>-1, <prefix>-2, …').default('sim'))
    .option('--approve', 'approve these limbs, and nobody else, through the control socket')
    .addOption(
      new Option('--seconds <seconds>', 'end after this many seconds').argParser(bounded(0.1, 31_536_000)),
    )
    .option(
      '--deterministic <seed>',
      'use the same keys and lose the same connections at every run; whoever knows the seed knows the keys',
    )
    .option('--socket <path>', 'the control socket: for --approve, and to keep the keys beside it')
    .option('--root <topic>', 'the topic root, if it is another one than in the configuration')
    .option('--config <file>', 'the configuration that names the listener and the control socket')
  withExamples(command, [
    'limb-bridge simulate --nodes 20 --approve',
    'limb-bridge simulate --nodes 500 --approve --drop-percent 10 --seconds 60',
  ])
  command.action(run(() => simulate(context, command.opts<SimulateOptions>())))
}

async function simulate(context: CliContext, options: SimulateOptions): Promise<number> {
  if (!isName(`${options.prefix}-${options.nodes}`)) {
    throw usageError(
      `--prefix: ${JSON.stringify(options.prefix)} makes no nodeId; use letters, digits, "_" and "-"`,
    )
  }
  const settings = await settingsOf(context, options.config)
  const socket = socketPath(context, connectionOf(options), settings)
  const counts: FleetCounts = {
    connected: 0,
    approved: 0,
    pending: 0,
    rejected: 0,
    heartbeats: 0,
    drops: 0,
    invocations: 0,
    everConnected: false,
    trouble: '',
  }
  const where = {
    url: options.url ?? `mqtt://${clientHost(settings.mqtt.host)}:${settings.mqtt.port}`,
    root: options.root ?? settings.mqtt.topicRoot,
    secret: keptSecret(socket),
    counts,
  }
  const bridge = options.approve ? await controlOf(context, options, socket) : undefined
  try {
    return await simulateFleet(context, options, where, bridge)
  } finally {
    await bridge?.close()
  }
}

interface Where {
  readonly url: string
  readonly root: string
  readonly secret: string | undefined
  readonly counts: FleetCounts
}

async function simulateFleet(
  context: CliContext,
  options: SimulateOptions,
  where: Where,
  bridge: Bridge | undefined,
): Promise<number> {
  const { counts } = where
  const approval =
    bridge &&
    new FleetApproval(bridge, (message) => {
      counts.trouble = message
    })
  const limbs = await fleetOf(context, options, where, approval)
  const ended = untilEnd(context, options.seconds)
  const stopProgress = showProgress(context, options.nodes, counts)
  const stopHint = hintLater(context, options, counts)
  const stopStarting = startOneByOne(context, limbs)
  await ended
  stopStarting()
  stopProgress()
  stopHint()
  await Promise.all(limbs.map((limb) => limb.stop()))
  print(
    context.io.stdout,
    `done: ${counts.heartbeats} heartbeats, ${counts.drops} drops, ${counts.invocations} invocations`,
  )
  if (counts.everConnected || counts.trouble === '') return EXIT.ok
  throw unreachable(`no limb reached the bridge at ${where.url}: ${counts.trouble}`)
}

/** A wildcard address is where a server listens, not where a client goes. */
function clientHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}

async function fleetOf(
  context: CliContext,
  options: SimulateOptions,
  where: Where,
  approval: FleetApproval | undefined,
): Promise<SimulatedLimb[]> {
  // The MQTT client is loaded by who uses it.
  const { registrationOf, SimulatedLimb } = await import('./simulated-limb.ts')
  // A bridge learns the keys of its limbs; they must not be those at another bridge.
  const secret = where.secret && `${where.secret}\0${where.url}`
  return Array.from({ length: options.nodes }, (_, i) => {
    const nodeId = `${options.prefix}-${i + 1}`
    return new SimulatedLimb({
      url: where.url,
      topicRoot: where.root,
      nodeId,
      registration: registrationOf(i + 1, Math.round(options.heartbeatSeconds)),
      chance: chanceOf(options.deterministic, nodeId, secret),
      heartbeatSeconds: options.heartbeatSeconds,
      dropPercent: options.dropPercent,
      clock: context.clock,
      counts: where.counts,
      onPending: (requestId, code) => approval?.asked(requestId, code),
    })
  })
}

/** Makes the options for the control socket; `--url` is where the limbs go. */
function connectionOf({ socket, root, config }: SimulateOptions): ConnectionOptions {
  return {
    ...(socket === undefined ? {} : { socket }),
    ...(root === undefined ? {} : { root }),
    ...(config === undefined ? {} : { config }),
  }
}

/** Opens the control socket, through which the limbs are approved; it comes back when the bridge does. */
async function controlOf(context: CliContext, options: SimulateOptions, socket: string): Promise<Bridge> {
  // Named, so that no variable of the environment means another bridge.
  const target = await targetOf(context, { ...connectionOf(options), socket })
  return openBridge(target, { clock: context.clock, reconnect: true })
}

function startOneByOne(context: CliContext, limbs: readonly SimulatedLimb[]): () => void {
  let cancel = () => {}
  const start = (i: number) => {
    const limb = limbs[i]
    if (!limb) return
    limb.start()
    cancel = context.clock.after(STAGGER_MS, () => start(i + 1))
  }
  start(0)
  return () => cancel()
}

/** Ctrl-C, the time is up, or nobody reads what is said. */
function untilEnd(context: CliContext, seconds: number | undefined): Promise<void> {
  return new Promise((resolve) => {
    const cancel = seconds === undefined ? () => {} : context.clock.after(seconds * 1000, () => end())
    const off = context.io.onInterrupt(() => end())
    const end = () => {
      cancel()
      off()
      resolve()
    }
    // Whoever read has gone (`| head`).
    context.io.stdout.once('error', end)
  })
}

/** Says once why limbs go on waiting, or why they are kept out, and what to do about it. */
function hintLater(context: CliContext, options: SimulateOptions, counts: FleetCounts): () => void {
  return context.clock.after(PENDING_HINT_MS + options.nodes * STAGGER_MS, () => {
    const { pending, rejected } = counts
    if (pending > 0 && options.approve === true)
      hint(
        context,
        `${pending} limbs wait: --approve gives no name that is paired with another key to a new one, and settles no conflict. \`limb-bridge pairing list\` shows them; another --prefix makes new limbs.`,
      )
    else if (pending > 0)
      hint(context, `${pending} limbs wait: \`limb-bridge pairing approve\` lets one in, --approve all.`)
    if (rejected > 0)
      hint(
        context,
        `${rejected} limbs are kept out: their keys were rejected or revoked. Another --prefix makes new limbs.`,
      )
  })
}

function hint({ io }: CliContext, text: string): void {
  print(io.stderr, io.stdout.isTTY ? `${CLEAR_LINE}${text}` : text)
}

const CLEAR_LINE = '\r\x1b[K'

/** One line that is redrawn on a terminal; elsewhere a line whenever something other than heartbeats changed. */
function showProgress(context: CliContext, nodes: number, counts: FleetCounts): () => void {
  const { stdout } = context.io
  let cancel = () => {}
  let last = ''
  const draw = () => {
    const { connected, approved, pending, rejected, heartbeats, drops, invocations, trouble } = counts
    const standing = [
      `${connected}/${nodes} connected`,
      `${approved} approved`,
      `${pending} pending`,
      ...(rejected > 0 ? [`${rejected} rejected`] : []),
      `${drops} drops`,
      ...(invocations > 0 ? [`${invocations} invocations`] : []),
    ].join(', ')
    const line = `${standing}, ${heartbeats} heartbeats${trouble === '' ? '' : `; last trouble: ${shown(trouble)}`}`
    if (stdout.isTTY) stdout.write(CLEAR_LINE + clip(line, (stdout.columns || 80) - 1))
    else if (standing !== last) print(stdout, line)
    last = standing
    cancel = context.clock.after(PROGRESS_MS, draw)
  }
  draw()
  return () => {
    cancel()
    if (stdout.isTTY) stdout.write(CLEAR_LINE)
  }
}
