import type { Version } from '../support/mqtt-wire.ts'
import type { GeneratorCommands } from './generator.ts'
import { type Line, median } from './line.ts'
import {
  aedesServer,
  bareMosquitto,
  bridgeServer,
  cEchoServer,
  echoServer,
  mosquittoPath,
  READER,
  type Server,
} from './peers.ts'
import { Worker } from './rpc.ts'
import type { Bench } from './run.ts'

/**
 * What a message costs the server, by the ways that messages take: to three subscribers, to none, retained; and a
 * heartbeat beside a server that only answers it. In MQTT 5 too, beside the bridge's own 3.1.1.
 */

const WINDOW = 100
const HEARTBEAT = '{"status":"online","metrics":{"t":21.5}}'
const OWN = 'own MQTT 3.1.1'

interface Way {
  readonly name: string
  readonly subscribers: number
  readonly qos: 0 | 1
  readonly retain: boolean
  /** CONNECT is measured on the same servers. */
  readonly connects?: true
}

const WAYS: readonly Way[] = [
  { name: 'QoS 0 to three subscribers', subscribers: 3, qos: 0, retain: false },
  { name: 'QoS 1 to three subscribers', subscribers: 3, qos: 1, retain: false },
  { name: 'QoS 1 without a subscriber', subscribers: 0, qos: 1, retain: false, connects: true },
  { name: 'retained, QoS 1', subscribers: 0, qos: 1, retain: true },
]

/** Goals of the ratios, bridge to peer. */
const GOALS: Readonly<Record<string, number>> = { 'bare Aedes': 1, 'Node echo': 1.6, [OWN]: 1.15 }

interface Loaded {
  readonly name: string
  readonly server: Server
  readonly load: Worker<GeneratorCommands>
  readonly version: Version
}

async function loaded(
  bench: Bench,
  server: Server,
  name = server.name,
  version: Version = 4,
): Promise<Loaded> {
  const load = bench.add(new Worker<GeneratorCommands>(new URL('./generator.ts', import.meta.url)))
  const range = { from: 0, count: bench.scale.publishers }
  await load.ask('connect', { target: server, range, version })
  return { name, server, load, version }
}

type Round = (one: Loaded) => Promise<number>

/** CPU of the server for one message, in microseconds. */
const telemetryRound =
  (count: number, { qos, retain }: Way): Round =>
  async ({ server, load, version }) => {
    const before = server.cpuMs()
    const { sent } = await load.ask('telemetry', { count, window: WINDOW, qos, retain, version })
    return ((server.cpuMs() - before) * 1000) / sent
  }

/** CPU of the server for one CONNECT with a name and a key, and for the DISCONNECT before it. */
const connectRound =
  (count: number, times: number): Round =>
  async ({ server, load, version }) => {
    const before = server.cpuMs()
    for (let i = 0; i < times; i++) {
      await load.ask('disconnect', {})
      await load.ask('connect', { target: server, range: { from: 0, count }, version })
    }
    return ((server.cpuMs() - before) * 1000) / (count * times)
  }

const heartbeatRound =
  (count: number): Round =>
  async ({ server, load, version }) => {
    const before = server.cpuMs()
    const { sent } = await load.ask('heartbeats', { count, window: WINDOW, payload: HEARTBEAT, version })
    return ((server.cpuMs() - before) * 1000) / sent
  }

/** Interleaved, forwards and backwards in turn, so that what drifts on the machine meets all alike. */
async function inPairs(all: readonly Loaded[], pairs: number, round: Round): Promise<number[][]> {
  const costs = all.map((): number[] => [])
  for (const one of all) await round(one)
  for (let pair = 0; pair < pairs; pair++) {
    const order = all.map((one, i) => ({ one, i }))
    for (const { one, i } of pair % 2 === 0 ? order : order.reverse()) costs[i]?.push(await round(one))
  }
  return costs
}

/** The first is the bridge; one line for each other. */
function lines(name: string, all: readonly Loaded[], costs: readonly (readonly number[])[]): Line[] {
  const [bridge = []] = costs
  return all.slice(1).map((peer, i) => {
    const theirs = costs[i + 1] ?? []
    const isOwn = peer.version === 5
    // The bridge in MQTT 5 stands beside itself in 3.1.1.
    const [ours, others] = isOwn ? [theirs, bridge] : [bridge, theirs]
    const ratios = ours.map((cost, pair) => cost / (others[pair] ?? Number.NaN))
    const peerName = isOwn ? OWN : peer.name
    const goal = GOALS[peerName]
    return {
      name: `${name}${isOwn ? ', MQTT 5' : ''} / ${peerName}`,
      unit: 'µs CPU',
      bridge: median(ours),
      peer: { name: peerName, value: median(others) },
      ratio: median(ratios),
      ...(goal === undefined ? {} : { goal }),
      note: `ratios ${ratios.map((ratio) => ratio.toFixed(2)).join(' ')}`,
    }
  })
}

async function ofTelemetry(bench: Bench, way: Way): Promise<Line[]> {
  const { publishers, messages, pairs } = bench.scale
  bench.say(`messages, ${way.name}`)
  const mosquitto = mosquittoPath()
  const bridge = bench.add(await bridgeServer(bench.folder(), publishers))
  const bridge5 = bench.add(await bridgeServer(bench.folder(), publishers))
  const peers = [bench.add(await aedesServer())]
  if (mosquitto !== undefined) peers.push(bench.add(await bareMosquitto(bench.folder(), mosquitto)))
  const all = [await loaded(bench, bridge), await loaded(bench, bridge5, bridge.name, 5)]
  for (const peer of peers) all.push(await loaded(bench, peer))
  for (const { load, server, version } of all) {
    const reading = { filter: 'limb/node/+/data/#', count: way.subscribers, qos: way.qos, version }
    await load.ask('subscribers', { target: server, ...READER, ...reading })
  }
  const found = lines(way.name, all, await inPairs(all, pairs, telemetryRound(messages, way)))
  if (way.connects) found.push(...(await ofConnects(bench, all)))
  await bench.endAll()
  return found
}

/** Bare Aedes and Mosquitto let everybody in: what the bridge's look at the key costs is no goal beside them. */
async function ofConnects(bench: Bench, all: readonly Loaded[]): Promise<Line[]> {
  const { publishers, messages, pairs } = bench.scale
  bench.say('connecting with a key')
  const costs = await inPairs(all, pairs, connectRound(publishers, Math.ceil(messages / 10 / publishers)))
  return lines('CONNECT with a key', all, costs).map(({ goal, ...line }) =>
    line.peer?.name === OWN && goal !== undefined ? { ...line, goal } : line,
  )
}

async function ofHeartbeats(bench: Bench): Promise<Line[]> {
  const { publishers, heartbeats, pairs } = bench.scale
  bench.say('heartbeats beside servers that only answer')
  const bridge = bench.add(await bridgeServer(bench.folder(), publishers))
  const bridge5 = bench.add(await bridgeServer(bench.folder(), publishers))
  const echoes = [bench.add(await echoServer())]
  const inC = await cEchoServer(bench.folder())
  if (inC === undefined) bench.say('no C compiler: the line of the C echo is left out')
  else echoes.push(bench.add(inC))
  const all = [await loaded(bench, bridge), await loaded(bench, bridge5, bridge.name, 5)]
  for (const echo of echoes) all.push(await loaded(bench, echo))
  const costs = await inPairs(all, pairs, heartbeatRound(heartbeats))
  await bench.endAll()
  return lines('heartbeat, JSON', all, costs)
}

/** `only`: the ways whose names have this text. */
export async function benchMessages(bench: Bench, only = ''): Promise<Line[]> {
  const found: Line[] = []
  for (const way of WAYS) {
    if (way.name.includes(only)) found.push(...(await ofTelemetry(bench, way)))
  }
  return 'heartbeats'.includes(only) ? [...found, ...(await ofHeartbeats(bench))] : found
}
