import { once } from 'node:events'
import { type BridgeProcess, startBridge } from '../support/bridge-process.ts'
import { rssBytes } from '../support/process-usage.ts'
import { importFleet } from './fleet.ts'
import type { GeneratorCommands } from './generator.ts'
import { type Line, median } from './line.ts'
import type { AedesCommands } from './peer-aedes.ts'
import { ROOM } from './peers.ts'
import { Worker } from './rpc.ts'
import type { Bench } from './run.ts'

/** Starts of the bridge, of which the median counts. */
const STARTS = 3
const KIB = 1024

const SETTINGS = { ...ROOM }

async function start(folder: string): Promise<BridgeProcess> {
  const hook = new URL('./gc-on-request.ts', import.meta.url).href
  return await startBridge({
    folder,
    settings: SETTINGS,
    ipc: true,
    nodeArgs: ['--expose-gc', '--import', hook],
  })
}

/** Resident memory after a collection. */
async function settledRss(bridge: BridgeProcess): Promise<number> {
  bridge.child.send('collect')
  await once(bridge.child, 'message')
  return rssBytes(bridge.pid)
}

async function restartLine(bench: Bench, folder: string, nodes: number, goalMs: number): Promise<Line> {
  const times: number[] = []
  for (let i = 0; i < STARTS; i++) {
    const bridge = await startBridge({ folder, settings: SETTINGS })
    bench.add({ end: () => bridge.kill() })
    times.push(bridge.readyMs)
    await bridge.stop()
  }
  const shown = times.map((ms) => ms.toFixed(0)).join(' ')
  return { name: `start with ${nodes} nodes`, unit: 'ms', bridge: median(times), goal: goalMs, note: shown }
}

/** A folder with a database of `nodes` approved nodes, and no bridge running in it. */
async function folderWith(bench: Bench, nodes: number): Promise<string> {
  const folder = bench.folder()
  const bridge = await startBridge({ folder, settings: SETTINGS })
  bench.add({ end: () => bridge.kill() })
  await importFleet(bridge.control, { from: 0, count: nodes })
  await bridge.stop()
  return folder
}

export async function benchRestart(bench: Bench): Promise<Line[]> {
  const lines: Line[] = []
  for (const { nodes, goalMs } of bench.scale.restarts) {
    bench.say(`restart with ${nodes} nodes`)
    const folder = await folderWith(bench, nodes)
    lines.push(await restartLine(bench, folder, nodes, goalMs))
    await bench.endAll()
  }
  return lines
}

export async function benchMemory(bench: Bench): Promise<Line[]> {
  const { retainedNodes, connectedLimbs } = bench.scale
  bench.say(`memory of ${retainedNodes} nodes and of ${connectedLimbs} connected limbs`)
  const empty = await rssOf(bench, await folderWith(bench, 0))
  const many = await rssOf(bench, await folderWith(bench, retainedNodes))

  const bridge = await start(await folderWith(bench, connectedLimbs))
  bench.add({ end: () => bridge.kill() })
  const before = await settledRss(bridge)
  const load = bench.add(new Worker<GeneratorCommands>(new URL('./generator.ts', import.meta.url)))
  const range = { from: 0, count: connectedLimbs }
  await load.ask('connect', { target: bridge.mqtt, range })
  await load.ask('heartbeats', { count: connectedLimbs, window: 100, payload: '' })
  const connected = await settledRss(bridge)
  await bench.endAll()

  const mib = (bytes: number) => `${(bytes / KIB / KIB).toFixed(0)} MiB`
  return [
    {
      name: 'memory per approved node',
      unit: 'KiB',
      bridge: (many - empty) / retainedNodes / KIB,
      note: `${mib(empty)} with none, ${mib(many)} with ${retainedNodes}`,
    },
    {
      name: 'memory per connected limb',
      unit: 'KiB',
      bridge: (connected - before) / connectedLimbs / KIB,
      note: `${mib(before)} with none, ${mib(connected)} with ${connectedLimbs} of ${connectedLimbs}`,
    },
    await besideAedes(bench),
  ]
}

interface Grown {
  readonly pid: number
  readonly target: { readonly host: string; readonly port: number }
  end(): Promise<unknown>
}

/** What resident memory grows by for each limb that connects and sends a heartbeat, bytes; nothing is collected by force. */
async function growth(bench: Bench, server: Grown): Promise<number> {
  const { connectedLimbs: count } = bench.scale
  const before = rssBytes(server.pid)
  const load = bench.add(new Worker<GeneratorCommands>(new URL('./generator.ts', import.meta.url)))
  await load.ask('connect', { target: server.target, range: { from: 0, count } })
  await load.ask('heartbeats', { count, window: 100, payload: '' })
  const grown = (rssBytes(server.pid) - before) / count
  await load.ask('disconnect', {})
  await load.end()
  await server.end()
  return grown
}

/** The same limbs at the bridge and at bare Aedes, in turns. */
async function besideAedes(bench: Bench): Promise<Line> {
  const folder = await folderWith(bench, bench.scale.connectedLimbs)
  const ours: number[] = []
  const theirs: number[] = []
  for (let pair = 0; pair < Math.min(3, bench.scale.pairs); pair++) {
    const bridge = await startBridge({ folder, settings: SETTINGS })
    bench.add({ end: () => bridge.kill() })
    ours.push(await growth(bench, { pid: bridge.pid, target: bridge.mqtt, end: () => bridge.stop() }))
    const aedes = bench.add(new Worker<AedesCommands>(new URL('./peer-aedes.ts', import.meta.url)))
    const target = { host: '127.0.0.1', port: await aedes.ask('listen', {}) }
    theirs.push(await growth(bench, { pid: aedes.pid, target, end: () => aedes.end() }))
  }
  await bench.endAll()
  const ratios = ours.map((bytes, pair) => bytes / (theirs[pair] ?? Number.NaN))
  return {
    name: 'memory per connected limb, nothing collected by force',
    unit: 'KiB',
    bridge: median(ours) / KIB,
    peer: { name: 'bare Aedes', value: median(theirs) / KIB },
    ratio: median(ratios),
    goal: 0.7,
    note: `ratios ${ratios.map((ratio) => ratio.toFixed(2)).join(' ')}`,
  }
}

async function rssOf(bench: Bench, folder: string): Promise<number> {
  const bridge = await start(folder)
  bench.add({ end: () => bridge.kill() })
  const rss = await settledRss(bridge)
  await bridge.stop()
  return rss
}
