import { startBridge } from '../support/bridge-process.ts'
import { cpuMs } from '../support/process-usage.ts'
import { importFleet } from './fleet.ts'
import type { GeneratorCommands } from './generator.ts'
import { type Line, median } from './line.ts'
import { dynsecMosquitto, dynsecPath, mosquittoPath, ROOM, type Server } from './peers.ts'
import { Worker } from './rpc.ts'
import type { Bench } from './run.ts'

/** What it costs when limbs come back: one by one on a running bridge, and all of them after a restart. */

/** Limbs that are on their way at any time. */
const WINDOW = 200

const generator = (bench: Bench) =>
  bench.add(new Worker<GeneratorCommands>(new URL('./generator.ts', import.meta.url)))

const nodeArgs = () =>
  process.env.BENCH_PROFILE === undefined
    ? []
    : ['--cpu-prof', '--cpu-prof-interval=400', `--cpu-prof-dir=${process.env.BENCH_PROFILE}`]

async function startAgain(bench: Bench, folder: string): Promise<Server> {
  const bridge = await startBridge({ folder, settings: { ...ROOM }, nodeArgs: nodeArgs() })
  return bench.add({
    name: 'bridge',
    ...bridge.mqtt,
    cpuMs: () => cpuMs(bridge.pid),
    settled: async () => {},
    end: async () => {
      await bridge.stop()
    },
  })
}

/** A folder with a fleet that has registered what it is, so that its next registration changes nothing. */
async function fleetFolder(bench: Bench, count: number): Promise<string> {
  const folder = bench.folder()
  const bridge = await startBridge({ folder, settings: { ...ROOM } })
  const load = generator(bench)
  await importFleet(bridge.control, { from: 0, count })
  await load.ask('comeBack', {
    target: bridge.mqtt,
    range: { from: 0, count },
    window: WINDOW,
    isAnswered: true,
  })
  await load.ask('forget', {})
  await bridge.stop()
  return folder
}

/** CPU of a running bridge for each limb: the whole way back, and a CONNECT with its DISCONNECT alone. */
async function each(bench: Bench): Promise<Line[]> {
  const { returningEach: count, pairs } = bench.scale
  bench.say(`${count} limbs come back, and connect alone`)
  const bridge = await startAgain(bench, await fleetFolder(bench, count))
  const load = generator(bench)
  const range = { from: 0, count }
  const round = async (whole: boolean) => {
    const before = bridge.cpuMs()
    if (whole) await load.ask('comeBack', { target: bridge, range, window: WINDOW, isAnswered: true })
    else await load.ask('connect', { target: bridge, range })
    await load.ask('disconnect', {})
    return (bridge.cpuMs() - before) / count
  }
  await round(true)
  await round(false)
  const whole: number[] = []
  const alone: number[] = []
  for (let pair = 0; pair < pairs; pair++) {
    whole.push(await round(true))
    alone.push(await round(false))
  }
  await bench.endAll()
  const note = (costs: readonly number[]) => costs.map((cost) => cost.toFixed(2)).join(' ')
  return [
    {
      name: 'CONNECT, SUBSCRIBE, register, heartbeat, each',
      unit: 'ms CPU',
      bridge: median(whole),
      goal: 0.7,
      note: note(whole),
    },
    { name: 'CONNECT alone, each', unit: 'ms CPU', bridge: median(alone), goal: 0.3, note: note(alone) },
  ]
}

/** CPU of a server from its open listeners until everybody is online. */
async function storm(bench: Bench, server: Server, isAnswered: boolean): Promise<number> {
  const { returning: count } = bench.scale
  const load = generator(bench)
  const before = server.cpuMs()
  await load.ask('comeBack', { target: server, range: { from: 0, count }, window: WINDOW, isAnswered })
  await server.settled(count)
  const spent = server.cpuMs() - before
  await load.ask('forget', {})
  await load.end()
  await server.end()
  return spent / 1000
}

async function afterRestart(bench: Bench): Promise<Line[]> {
  const { returning: count, pairs } = bench.scale
  bench.say(`${count} limbs come back after a restart`)
  const folder = await fleetFolder(bench, count)
  const mosquitto = dynsecPath() === undefined ? undefined : mosquittoPath()
  const ours: number[] = []
  const theirs: number[] = []
  for (let pair = 0; pair < Math.min(3, pairs); pair++) {
    ours.push(await storm(bench, await startAgain(bench, folder), true))
    if (mosquitto === undefined) continue
    const peer = bench.add(await dynsecMosquitto(bench.folder(), mosquitto, count))
    theirs.push(await storm(bench, peer, false))
  }
  await bench.endAll()
  const ratios = ours.map((cost, pair) => cost / (theirs[pair] ?? Number.NaN))
  const isAlone = theirs.length === 0
  return [
    {
      name: `${count} limbs online again after a restart`,
      unit: 's CPU',
      bridge: median(ours),
      ...(isAlone
        ? {}
        : {
            peer: { name: 'Mosquitto, dynsec + script', value: median(theirs) },
            ratio: median(ratios),
            goal: 1.5,
          }),
      note: isAlone ? '' : `ratios ${ratios.map((ratio) => ratio.toFixed(2)).join(' ')}`,
    },
  ]
}

export async function benchReconnect(bench: Bench): Promise<Line[]> {
  return [...(await each(bench)), ...(await afterRestart(bench))]
}
