import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { startBridge } from '../support/bridge-process.ts'
import { cpuMs } from '../support/process-usage.ts'
import { importFleet } from './fleet.ts'
import type { GeneratorCommands } from './generator.ts'
import type { Line } from './line.ts'
import { ROOM } from './peers.ts'
import { Worker } from './rpc.ts'
import type { Bench } from './run.ts'

/** Subscriptions before those that count. */
const WARM_UP = 200

export async function benchSubscribe(bench: Bench): Promise<Line[]> {
  const { retainedNodes, exactSubscriptions } = bench.scale
  bench.say(`subscribing with ${retainedNodes} nodes`)
  const folder = bench.folder()
  const bridge = await startBridge({ folder, settings: { ...ROOM } })
  bench.add({ end: () => bridge.kill() })
  await importFleet(bridge.control, { from: 0, count: retainedNodes })
  const load = bench.add(new Worker<GeneratorCommands>(new URL('./generator.ts', import.meta.url)))
  const password = readFileSync(join(folder, 'admin-password'), 'utf8').trim()
  await load.ask('signIn', { target: bridge.mqtt, username: 'admin', password })

  await load.ask('subscribeExact', { count: Math.min(WARM_UP, exactSubscriptions), of: retainedNodes })
  const beforeExact = cpuMs(bridge.pid)
  await load.ask('subscribeExact', { count: exactSubscriptions, of: retainedNodes })
  const exact = (cpuMs(bridge.pid) - beforeExact) / exactSubscriptions

  const beforeAll = cpuMs(bridge.pid)
  const all = await load.ask('subscribeAll', { filter: 'limb/node/+/status', expected: retainedNodes })
  const allCpu = cpuMs(bridge.pid) - beforeAll
  await bench.endAll()
  return [
    {
      name: `subscribe limb/node/+/status, ${retainedNodes} nodes: wall`,
      unit: 'ms',
      bridge: all.wallMs,
      note: 'until every retained message has arrived',
    },
    {
      name: `subscribe limb/node/+/status, ${retainedNodes} nodes: CPU`,
      unit: 'ms',
      bridge: allCpu,
      note: `${((allCpu * 1000) / retainedNodes).toFixed(2)} µs a message`,
    },
    {
      name: `subscribe one status, ${retainedNodes} nodes: CPU`,
      unit: 'ms',
      bridge: exact,
      goal: 1,
      note: `with its UNSUBSCRIBE, mean of ${exactSubscriptions}`,
    },
  ]
}
