import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, it } from 'vitest'
import { type BridgeProcess, launchBridge, startBridge } from '../support/bridge-process.ts'
import { connectControl } from '../support/control-client.ts'
import { patience } from '../support/patience.ts'
import { RefusedConnect } from '../support/raw-client.ts'
import { Disk, settleAll, wireFaults } from './checks.ts'
import { ModelLimb } from './model.ts'
import { SeededRandom } from './random.ts'
import { connectDevice, stream, type Tally } from './stream.ts'

/** `CRASH_SEED=… CRASH_COUNT=… npx vitest run test/crash` repeats a run, as far as the machine's timing allows. */
const SEED = Number(process.env.CRASH_SEED ?? Math.floor(Math.random() * 2 ** 31))
const CRASHES = Number(process.env.CRASH_COUNT ?? 50)

/** The stream runs for up to this long before the process is killed, 300 ms on an idle machine: some hundred changes. */
const LIFE_MS = patience(150)
const LANES = 16
/** One life in so many is killed while the process starts. */
const START_KILLED_IN = 8
const START_MS = patience(250)
const SAMPLES = 2

const folder = mkdtempSync(join(tmpdir(), 'limb-crash-'))
const settings = {
  // Everything comes from one address, and no answer shall depend on how many are pending.
  pairing: { maxPending: 100_000, maxPendingPerAddress: 100_000 },
  mqtt: { maxConnections: 10_000, maxConnectionsPerAddress: 10_000 },
  http: { enabled: false },
}
let last: BridgeProcess | undefined

afterAll(async () => {
  await last?.kill()
  rmSync(folder, { recursive: true, force: true })
})

async function start(): Promise<BridgeProcess> {
  last = await startBridge({ folder, settings })
  return last
}

/** The answers of the bridge to devices that come back: they must be those of before the crash. */
async function devicesFindTheirPlace(
  bridge: BridgeProcess,
  limbs: readonly ModelLimb[],
  random: SeededRandom,
) {
  const some = (phase: string) => {
    const those = limbs.filter((limb) => limb.sure.phase === phase)
    return Array.from({ length: Math.min(SAMPLES, those.length) }, () => random.pick(those) as ModelLimb)
  }
  for (const limb of some('refused')) {
    await expect(connectDevice(bridge, limb)).rejects.toEqual(new RefusedConnect(5))
  }
  for (const limb of [...some('pending'), ...some('approved')]) {
    const device = await connectDevice(bridge, limb)
    const caps = limb.sure.wanted ?? limb.sure.caps
    const answer = await device.register(`${limb.name} by itself`, caps).answer
    expect(answer.status).toBe(limb.sure.phase)
    expect(answer.requestId ?? answer.awaiting ?? null).toBe(limb.sure.requestId)
    device.client.cut()
  }
}

interface Run {
  readonly random: SeededRandom
  readonly limbs: ModelLimb[]
  readonly tally: Tally
  /** Changes that were under way when the process died. */
  underWay: number
}

/** What is there after a start is what was acknowledged, and everything about it is whole. */
async function holdToItsWord(bridge: BridgeProcess, { limbs }: Run, when: string): Promise<void> {
  using disk = new Disk(folder)
  expect(disk.faults(), when).toEqual([])
  expect(settleAll(limbs, disk.limbs()), when).toEqual([])
  expect(await wireFaults(bridge, limbs), when).toEqual([])
}

/** Changes until the process is killed under them. */
async function liveAndDie(bridge: BridgeProcess, run: Run): Promise<void> {
  const { random, limbs, tally } = run
  const control = await connectControl(bridge.control)
  let killed = false
  const newLimb = () => new ModelLimb(limbs.length)
  const streaming = stream(
    { bridge, control, dying: () => killed, random, limbs, newLimb, lanes: LANES },
    tally,
  )
  await Promise.race([sleep(random.below(LIFE_MS)), streaming])
  killed = true
  await bridge.kill()
  await streaming
  run.underWay += limbs.filter((limb) => limb.maybe !== null).length
}

async function dieOnTheWay(random: SeededRandom): Promise<void> {
  const starting = launchBridge({ folder, settings })
  await sleep(random.below(START_MS))
  starting.child.kill('SIGKILL')
  await starting.ended
}

it(
  `loses nothing acknowledged and keeps nothing by halves over ${CRASHES} kill -9 (seed ${SEED})`,
  async () => {
    const run: Run = { random: new SeededRandom(SEED), limbs: [], tally: new Map(), underWay: 0 }
    for (let crash = 1; crash <= CRASHES; crash++) {
      const bridge = await start()
      await holdToItsWord(bridge, run, `seed ${SEED}, after crash ${crash - 1}`)
      await devicesFindTheirPlace(bridge, run.limbs, run.random)
      await liveAndDie(bridge, run)
      if (crash % START_KILLED_IN === 0) await dieOnTheWay(run.random)
    }
    const bridge = await start()
    await holdToItsWord(bridge, run, `seed ${SEED}, after the last crash`)
    expect(await bridge.stop()).toBe(0)

    const done = [...run.tally].map(([name, count]) => `${count} ${name}`).join(', ')
    console.log(
      `crash test: seed ${SEED}, ${CRASHES} crashes, ${run.limbs.length} limbs, ${run.underWay} changes under way at a crash, acknowledged: ${done}`,
    )
    // What was never under way when the process died would have shown nothing.
    expect(run.underWay).toBeGreaterThan(CRASHES / 2)
    for (const change of ['registered', 'approved', 'rejected', 'renamed', 'policy set', 'heartbeat'])
      expect(run.tally.get(change), change).toBeGreaterThan(0)
  },
  patience(600_000),
)
