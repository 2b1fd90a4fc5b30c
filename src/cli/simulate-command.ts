import { type Command, InvalidArgumentError, Option } from 'commander'
import { LIMITS } from '../protocol/limits.ts'
import { isName } from '../protocol/names.ts'
import { topicsOf } from '../protocol/topics.ts'
import { type Run, withExamples } from './command-parts.ts'
import { openBridge } from './connection.ts'
import { EXIT, unreachable, usageError } from './exit.ts'
import type { World } from './parts.ts'
import { type FleetCounts, registrationOf, SimulatedLimb } from './simulated-limb.ts'
import { chanceOf } from './simulated-random.ts'
import { settingsOf, targetOf } from './target.ts'
import { clip, print } from './text.ts'

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
/** Between two new connections: a start is no storm, unless several simulators make one. */
const STAGGER_MS = 5
const PROGRESS_MS = 1000

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

export function addSimulateCommand(program: Command, world: World, run: Run): void {
  const command = program
    .command('simulate')
    .summary('Pretend to be limbs that register, send heartbeats, drop and reconnect.')
    .description(
      'Pretend to be limbs that register with their own keys, send heartbeats, drop and reconnect. Ctrl-C ends it.',
    )
    .addOption(new Option('--nodes <count>', 'how many').argParser(whole(1, MAX_NODES)).default(20))
    .option('--url <url>', 'where: mqtt://, mqtts://, ws:// or wss://; the configured listener unless told')
    .addOption(
      new Option('--heartbeat-seconds <seconds>', 'between heartbeats')
        .argParser(bounded(0.1, LIMITS.heartbeatSecondsMax))
        .default(5),
    )
    .addOption(
      new Option('--drop-percent <percent>', 'chance of a lost connection at each heartbeat')
        .argParser(bounded(0, 100))
        .default(1),
    )
    .addOption(new Option('--prefix <name>', 'limbs are named <prefix>-1, <prefix>-2, …').default('sim'))
    .option('--approve', 'open the pairing window through the control socket, and close it at the end')
    .addOption(new Option('--seconds <seconds>', 'end after so long').argParser(bounded(0.1, 31_536_000)))
    .option(
      '--deterministic <seed>',
      'the same keys and drops at every run; whoever knows the seed knows the keys',
    )
    .option('--socket <path>', 'with --approve: the control socket')
    .option('--root <topic>', 'the topic root, if it is not the one of the configuration')
    .option('--config <file>', 'the configuration that names listener and control socket')
  withExamples(command, [
    'limb-bridge simulate --nodes 20 --approve',
    'limb-bridge simulate --nodes 500 --approve --drop-percent 10 --seconds 60',
  ])
  command.action(run(() => simulate(world, command.opts<SimulateOptions>())))
}

async function simulate(world: World, options: SimulateOptions): Promise<number> {
  if (!isName(`${options.prefix}-${options.nodes}`)) {
    throw usageError(
      `--prefix: ${JSON.stringify(options.prefix)} makes no nodeId; use letters, digits, "_" and "-"`,
    )
  }
  const settings = settingsOf(world, options.config)
  const counts: FleetCounts = {
    connected: 0,
    approved: 0,
    pending: 0,
    rejected: 0,
    heartbeats: 0,
    drops: 0,
    everConnected: false,
    trouble: '',
  }
  const where = {
    url: options.url ?? `mqtt://${clientHost(settings.mqtt.host)}:${settings.mqtt.port}`,
    root: options.root ?? settings.mqtt.topicRoot,
    counts,
  }
  const limbs = fleetOf(world, options, where)
  if (options.approve)
    await permit(world, options, Math.ceil(Math.min(LIMITS.permitSecondsMax, options.seconds ?? Infinity)))
  const ended = untilEnd(world, options.seconds)
  const stopProgress = showProgress(world, options.nodes, counts)
  const stopStarting = startOneByOne(world, limbs)
  await ended
  stopStarting()
  stopProgress()
  await Promise.all(limbs.map((limb) => limb.stop()))
  if (options.approve) await permit(world, options, 0)
  print(world.io.stdout, `done: ${counts.heartbeats} heartbeats, ${counts.drops} drops`)
  if (counts.everConnected || counts.trouble === '') return EXIT.ok
  throw unreachable(`no limb reached the bridge at ${where.url}: ${counts.trouble}`)
}

/** A wildcard address is where a server listens, not where a client goes. */
function clientHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}

function fleetOf(
  world: World,
  options: SimulateOptions,
  where: { url: string; root: string; counts: FleetCounts },
): SimulatedLimb[] {
  const topics = topicsOf(where.root)
  return Array.from({ length: options.nodes }, (_, i) => {
    const nodeId = `${options.prefix}-${i + 1}`
    return new SimulatedLimb({
      url: where.url,
      topics,
      nodeId,
      registration: registrationOf(i + 1, Math.round(options.heartbeatSeconds)),
      chance: chanceOf(options.deterministic, nodeId),
      heartbeatSeconds: options.heartbeatSeconds,
      dropPercent: options.dropPercent,
      clock: world.clock,
      counts: where.counts,
    })
  })
}

async function permit(world: World, options: SimulateOptions, seconds: number): Promise<void> {
  const { socket, root, config } = options
  const target = await targetOf(world, {
    ...(socket === undefined ? {} : { socket }),
    ...(root === undefined ? {} : { root }),
    ...(config === undefined ? {} : { config }),
  })
  const bridge = await openBridge(target, { clock: world.clock })
  try {
    await bridge.request('pairing/permit', { seconds })
  } finally {
    await bridge.close()
  }
}

function startOneByOne(world: World, limbs: readonly SimulatedLimb[]): () => void {
  let cancel = () => {}
  const start = (i: number) => {
    const limb = limbs[i]
    if (!limb) return
    limb.start()
    cancel = world.clock.after(STAGGER_MS, () => start(i + 1))
  }
  start(0)
  return () => cancel()
}

/** Ctrl-C, the time is up, or nobody reads what is said. */
function untilEnd(world: World, seconds: number | undefined): Promise<void> {
  return new Promise((resolve) => {
    const cancel = seconds === undefined ? () => {} : world.clock.after(seconds * 1000, () => end())
    const off = world.io.onInterrupt(() => end())
    const end = () => {
      cancel()
      off()
      resolve()
    }
    // Whoever read has gone (`| head`).
    world.io.stdout.once('error', end)
  })
}

const CLEAR_LINE = '\r\x1b[K'

/** One line that is redrawn on a terminal; elsewhere a line whenever something other than heartbeats changed. */
function showProgress(world: World, nodes: number, counts: FleetCounts): () => void {
  const { stdout } = world.io
  let cancel = () => {}
  let last = ''
  const draw = () => {
    const { connected, approved, pending, rejected, heartbeats, drops, trouble } = counts
    const standing = [
      `${connected}/${nodes} connected`,
      `${approved} approved`,
      `${pending} pending`,
      ...(rejected > 0 ? [`${rejected} rejected`] : []),
      `${drops} drops`,
    ].join(', ')
    const line = `${standing}, ${heartbeats} heartbeats${trouble === '' ? '' : `; last trouble: ${trouble}`}`
    if (stdout.isTTY) stdout.write(CLEAR_LINE + clip(line, (stdout.columns || 80) - 1))
    else if (standing !== last) print(stdout, line)
    last = standing
    cancel = world.clock.after(PROGRESS_MS, draw)
  }
  draw()
  return () => {
    cancel()
    if (stdout.isTTY) stdout.write(CLEAR_LINE)
  }
}
