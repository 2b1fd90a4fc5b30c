import type { GeneratorCommands } from './generator.ts'
import { type Line, median } from './line.ts'
import { aedesServer, bridgeServer, mosquittoPath, mosquittoServer, type Server } from './peers.ts'
import { Worker } from './rpc.ts'
import type { Bench } from './run.ts'

/** Heartbeats that are unanswered at any time, of all limbs together. The same for every server. */
const WINDOW = 100

const PAYLOADS = [
  { name: 'empty', payload: '' },
  { name: 'JSON', payload: '{"status":"online","metrics":{"t":21.5}}' },
] as const

/** Goals of the ratios, bridge to peer. */
const GOALS: Readonly<Record<string, number>> = {
  'bare Aedes': 1.15,
  'Mosquitto + script at QoS 1': 0.9,
  'Mosquitto + script at QoS 0': 0.9,
}

/** A server and the process that loads it: each has its own, because of the limit of open files. */
interface Loaded {
  readonly server: Server
  readonly load: Worker<GeneratorCommands>
  sent: number
}

async function loaded(bench: Bench, server: Server, limbs: number): Promise<Loaded> {
  const load = bench.add(new Worker<GeneratorCommands>(new URL('./generator.ts', import.meta.url)))
  const target = { host: server.host, port: server.port }
  await load.ask('connect', { target, range: { from: 0, count: limbs } })
  return { server, load, sent: 0 }
}

/** CPU of the server for one heartbeat, in microseconds. */
async function round(one: Loaded, count: number, payload: string): Promise<number> {
  const before = one.server.cpuMs()
  const { sent } = await one.load.ask('heartbeats', { count, window: WINDOW, payload })
  one.sent += sent
  await one.server.settled(one.sent)
  return ((one.server.cpuMs() - before) * 1000) / sent
}

/** Interleaved, in turn forwards and backwards, so that what drifts on the machine meets all alike. */
async function rounds(all: readonly Loaded[], count: number, pairs: number, payload: string) {
  const costs = new Map<Loaded, number[]>(all.map((one) => [one, []]))
  for (const one of all) await round(one, count, payload)
  for (let i = 0; i < pairs; i++) {
    for (const one of i % 2 === 0 ? all : [...all].reverse()) {
      costs.get(one)?.push(await round(one, count, payload))
    }
  }
  return all.map((one) => costs.get(one) ?? [])
}

async function servers(bench: Bench, limbs: number): Promise<Server[]> {
  const mosquitto = mosquittoPath()
  if (mosquitto === undefined) bench.say('mosquitto is not installed: its lines are left out')
  const all = [bench.add(await bridgeServer(bench.folder(), limbs)), bench.add(await aedesServer())]
  if (mosquitto === undefined) return all
  for (const qos of [1, 0] as const)
    all.push(bench.add(await mosquittoServer(bench.folder(), mosquitto, qos)))
  return all
}

export async function benchHeartbeats(bench: Bench): Promise<Line[]> {
  const { fleets, heartbeats, pairs } = bench.scale
  const lines: Line[] = []
  for (const limbs of fleets) {
    const all: Loaded[] = []
    for (const server of await servers(bench, limbs)) all.push(await loaded(bench, server, limbs))
    for (const { name, payload } of PAYLOADS) {
      bench.say(`heartbeats of ${limbs} limbs, ${name}`)
      const [bridge = [], ...peers] = await rounds(all, heartbeats, pairs, payload)
      peers.forEach((peer, i) => {
        const peerName = all[i + 1]?.server.name ?? ''
        const ratios = bridge.map((cost, pair) => cost / (peer[pair] ?? Number.NaN))
        lines.push({
          name: `heartbeat, ${limbs} limbs, ${name} / ${peerName}`,
          unit: 'µs CPU',
          bridge: median(bridge),
          peer: { name: peerName, value: median(peer) },
          ratio: median(ratios),
          goal: GOALS[peerName] ?? Number.NaN,
          note: `ratios ${ratios.map((ratio) => ratio.toFixed(2)).join(' ')}`,
        })
      })
    }
    await bench.endAll()
  }
  return lines
}
