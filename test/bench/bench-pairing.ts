import { startBridge } from '../support/bridge-process.ts'
import { connectControl } from '../support/control-client.ts'
import { cpuMs } from '../support/process-usage.ts'
import type { GeneratorCommands } from './generator.ts'
import type { Line } from './line.ts'
import { ROOM } from './peers.ts'
import { Worker } from './rpc.ts'
import type { Bench } from './run.ts'

/** Limbs that are between connecting and being pending at any time. */
const JOINING = 200
/** Approvals under way at any time: an operator's script. */
const APPROVALS = 50

interface Spent {
  readonly wallMs: number
  readonly cpuMs: number
}

async function spent(pid: number, work: () => Promise<void>): Promise<Spent> {
  const started = performance.now()
  const before = cpuMs(pid)
  await work()
  return { wallMs: performance.now() - started, cpuMs: cpuMs(pid) - before }
}

function lines(name: string, { wallMs, cpuMs: cpu }: Spent, count: number): Line[] {
  return [
    {
      name: `${name}: wall`,
      unit: 'ms',
      bridge: wallMs / count,
      note: `${(wallMs / 1000).toFixed(2)} s in all`,
    },
    { name: `${name}: CPU`, unit: 'ms', bridge: cpu / count, note: `${(cpu / 1000).toFixed(2)} s in all` },
  ]
}

async function approveAll(socket: string, requestIds: readonly string[]): Promise<void> {
  const control = await connectControl(socket)
  let next = 0
  const lane = async () => {
    for (let id = requestIds[next++]; id !== undefined; id = requestIds[next++]) {
      await control.do('pairing/approve', { requestId: id })
    }
  }
  await Promise.all(Array.from({ length: APPROVALS }, lane))
  control.client.end()
}

export async function benchPairing(bench: Bench): Promise<Line[]> {
  const { newLimbs } = bench.scale
  const bridge = await startBridge({ folder: bench.folder(), settings: { ...ROOM } })
  bench.add({ end: async () => void (await bridge.stop()) })
  const load = bench.add(new Worker<GeneratorCommands>(new URL('./generator.ts', import.meta.url)))

  bench.say(`${newLimbs} new limbs connect and register`)
  let requestIds: readonly string[] = []
  const joined = await spent(bridge.pid, async () => {
    const range = { from: 0, count: newLimbs }
    requestIds = (await load.ask('pair', { target: bridge.mqtt, range, window: JOINING })).requestIds
  })
  bench.say(`${newLimbs} approvals`)
  const approved = await spent(bridge.pid, () => approveAll(bridge.control, requestIds))
  await bench.endAll()
  return [
    ...lines(`connect, register, pending (${newLimbs}), each`, joined, newLimbs),
    ...lines(`approve (${newLimbs} connected), each`, approved, newLimbs),
  ]
}
