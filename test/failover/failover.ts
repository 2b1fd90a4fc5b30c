import { setTimeout as wait } from 'node:timers/promises'
import pg from 'pg'
import { connect, type TestClient } from '../support/client.ts'
import { ROBOT } from '../support/worker.ts'
import { type Cluster, startCluster, until } from './cluster.ts'
import { type Fleet, startFleet } from './fleet.ts'
import { type Facts, startLoad } from './load.ts'
import { leaderOf, newSlot, placed, processOf, reading, type Slot, standbyIsThere, start } from './pair.ts'

/** Rounds of failures under load, and what must hold after each. */

export const SCENARIOS = ['leader', 'primary', 'both', 'frozen'] as const
export type Scenario = (typeof SCENARIOS)[number]

export interface FailoverOptions {
  readonly rounds: number
  readonly limbs: number
  readonly scenarios: readonly Scenario[]
  readonly say: (line: string) => void
}

/** Limbs are back in this time after kill -9 of the leader, and after it was frozen. */
const GOAL_MS: Partial<Record<Scenario, number>> = { leader: 6000, frozen: 15_000 }
/** Load before and after the failure. */
const BUSY_MS = 4000
const LIMIT_MS = 120_000
const PASSWORD = 'a-long-password'

const keyOf = (id: string) => id.padEnd(24, 'k')

interface Stage {
  readonly cluster: Cluster
  readonly slots: readonly Slot[]
  readonly fleet: Fleet
  readonly ids: readonly string[]
  readonly fences: Map<string, number>
  readonly faults: string[]
}

interface Outcome {
  /** Until all limbs were online, or until changes were taken again where no limb may notice. */
  readonly ms: number
  /** Until the other bridge led, where one did. */
  readonly leadsMs?: number
}

export async function failover({
  rounds,
  limbs,
  scenarios,
  say,
}: FailoverOptions): Promise<{ faults: string[] }> {
  const faults: string[] = []
  const slots = [await newSlot('a'), await newSlot('b')]
  const cluster = await startCluster(slots)
  let stage: Stage | undefined
  try {
    stage = await prepare(cluster, slots, limbs, faults)
    say(`${limbs} limbs are online; primary ${await cluster.primary()}`)
    for (const scenario of scenarios) {
      const times: number[] = []
      for (let round = 0; round < rounds; round++) {
        const { outcome, facts } = await oneRound(stage, scenario, `${scenario}${round}`)
        times.push(outcome.ms)
        say(
          `${scenario} ${round + 1}/${rounds}: ${roundLine(outcome, facts)}; faults so far: ${faults.length}`,
        )
      }
      times.sort((a, b) => a - b)
      say(
        `${scenario}: median ${seconds(times[Math.floor(times.length / 2)])}, longest ${seconds(times.at(-1))}`,
      )
      const goal = GOAL_MS[scenario]
      const late = times.filter((ms) => goal !== undefined && ms > goal)
      if (late.length > 0)
        faults.push(`${scenario}: ${late.length} of ${rounds} rounds above ${seconds(goal)}`)
    }
    return { faults }
  } finally {
    stage?.fleet.stop()
    for (const slot of stage?.slots ?? []) slot.starting?.child.kill('SIGKILL')
    await cluster.stop()
  }
}

const seconds = (ms: number | undefined) => `${((ms ?? 0) / 1000).toFixed(1)} s`

function roundLine(
  { ms, leadsMs }: Outcome,
  { registered, approved, policies, fences, ran, refused }: Facts,
): string {
  const led = leadsMs === undefined ? '' : ` (it led after ${seconds(leadsMs)})`
  return `${seconds(ms)}${led}; acknowledged: ${registered.size} registrations, ${approved.size} approvals, ${policies.size} policies, ${fences.size} limbs leased, ${ran.size} invocations; ${refused} refused`
}

async function prepare(
  cluster: Cluster,
  unplaced: readonly Slot[],
  limbs: number,
  faults: string[],
): Promise<Stage> {
  const slots = unplaced.map((slot) => placed(slot, cluster.folder))
  const [first, second] = slots as [Slot, Slot]
  start(first, cluster.url)
  const admin = await connect({ socket: (await processOf(first)).control })
  start(second, cluster.url)
  await standbyIsThere(second)
  const ids = Array.from({ length: limbs }, (_, i) => `limb-${i}`)
  for (let i = 0; i < ids.length; i += 100) {
    const nodes = ids.slice(i, i + 100).map((nodeId) => ({ nodeId, ...ROBOT, apiKey: keyOf(nodeId) }))
    await admin.do('admin', 'node/import', { nodes })
  }
  await admin.do('admin', 'principal/add', { name: 'op', role: 'operator', password: PASSWORD })
  await admin.do('admin', 'principal/add', { name: 'ann', role: 'agent', password: PASSWORD })
  admin.mqtt.end(true)
  const fleet = startFleet(cluster.mqtt, ids, keyOf)
  await allOnline(first, limbs)
  return { cluster, slots, fleet, ids, fences: new Map(), faults }
}

async function allOnline(slot: Slot, limbs: number): Promise<void> {
  await until(`${limbs} limbs online at ${slot.name}`, LIMIT_MS, async () => {
    const [leads, online] = [
      await reading(slot, 'limb_leads'),
      await reading(slot, 'limb_nodes{status="online"}'),
    ]
    return leads === 1 && online === limbs
  })
}

async function oneRound(stage: Stage, scenario: Scenario, round: string) {
  const { cluster, slots, ids, faults } = stage
  await cluster.healthy()
  const leader = await leaderOf(slots)
  await allOnline(leader, ids.length)
  const load = startLoad({ port: cluster.mqtt, round, limbs: ids, password: PASSWORD, fences: stage.fences })
  await wait(BUSY_MS)
  const outcome = await ACTS[scenario](stage, leader)
  await wait(BUSY_MS)
  await load.stop()
  for (const fault of await check(stage, load.facts)) faults.push(`${round}: ${fault}`)
  return { outcome, facts: load.facts }
}

const ACTS: Readonly<Record<Scenario, (stage: Stage, leader: Slot) => Promise<Outcome>>> = {
  async leader(stage, leader) {
    const from = performance.now()
    await (await processOf(leader)).kill()
    return await takenOver(stage, leader, from)
  },

  async both(stage, leader) {
    const from = performance.now()
    const again = await stage.cluster.killPrimary()
    await (await processOf(leader)).kill()
    const outcome = await takenOver(stage, leader, from)
    again()
    return outcome
  },

  async primary({ cluster, ids, faults }, leader) {
    const { control, child } = await processOf(leader)
    const admin = await connect({ socket: control })
    const changes = await watched(admin, ids)
    const from = performance.now()
    const again = await cluster.killPrimary()
    const policy = { principal: 'ann', nodeId: ids[0], capability: 'self-destruct', level: 'denied' }
    await until(
      'a change that is stored',
      LIMIT_MS,
      async () => (await admin.ask('admin', 'policy/set', policy)).ok,
    )
    const ms = performance.now() - from
    again()
    await cluster.healthy()
    if (changes.length > 0) faults.push(`primary: ${changes.length} statuses changed, such as ${changes[0]}`)
    if (child.exitCode !== null) faults.push('primary: the leader has ended')
    admin.mqtt.end(true)
    return { ms }
  },

  async frozen(stage, leader) {
    const { pid, control, ended } = await processOf(leader)
    const watcher = await connect({ socket: control }, { reconnectPeriod: 0 })
    await watcher.subscribe('limb/#')
    const from = performance.now()
    process.kill(pid, 'SIGSTOP')
    const outcome = await followed(stage, leader, from)
    const told: string[] = []
    watcher.mqtt.on('message', (topic, _payload, { retain }) => {
      if (!retain) told.push(topic)
    })
    // What came before it was frozen is read first.
    await wait(200)
    told.length = 0
    process.kill(pid, 'SIGCONT')
    const { code } = await ended
    if (code !== 3) stage.faults.push(`frozen: the one that woke ended with ${code}`)
    if (told.length > 0)
      stage.faults.push(`frozen: the one that woke told ${told.length}, such as ${told[0]}`)
    watcher.mqtt.end(true)
    start(leader, stage.cluster.url)
    await standbyIsThere(leader)
    return outcome
  },
}

function otherOf({ slots }: Stage, leader: Slot): Slot {
  return slots.find((slot) => slot !== leader) as Slot
}

async function takenOver(stage: Stage, leader: Slot, from: number): Promise<Outcome> {
  const outcome = await followed(stage, leader, from)
  start(leader, stage.cluster.url)
  await standbyIsThere(leader)
  return outcome
}

/** Waits until the other bridge leads, and all limbs are online there. */
async function followed(stage: Stage, leader: Slot, from: number): Promise<Outcome> {
  const other = otherOf(stage, leader)
  await until(`${other.name} leads`, LIMIT_MS, async () => (await reading(other, 'limb_leads')) === 1)
  const leadsMs = performance.now() - from
  await allOnline(other, stage.ids.length)
  return { ms: performance.now() - from, leadsMs }
}

/** Collects the changes of status that come from now on. */
async function watched(admin: TestClient, ids: readonly string[]): Promise<string[]> {
  const changes: string[] = []
  const known = new Set(ids)
  admin.mqtt.on('message', (topic, payload, { retain }) => {
    const [, , id, what] = topic.split('/')
    if (!retain && what === 'status' && known.has(String(id))) changes.push(`${id} ${payload}`)
  })
  await admin.subscribe('limb/node/+/status')
  return changes
}

async function check({ cluster, slots, fleet }: Stage, facts: Facts): Promise<string[]> {
  const faults = facts.lower.map((each) => `a fence that is not higher: ${each}`)
  const client = new pg.Client({ connectionString: cluster.url })
  client.on('error', () => undefined)
  await client.connect()
  try {
    const names = async (text: string) =>
      new Set((await client.query(text)).rows.map(({ name }) => String(name)))
    const nodes = await names('SELECT node_id AS name FROM limb.nodes')
    const known = await names('SELECT node_id AS name FROM limb.requests')
    const policies = await names("SELECT node_id AS name FROM limb.policies WHERE level = 'denied'")
    const lost = (what: string, wanted: ReadonlySet<string>, there: (name: string) => boolean) => {
      for (const name of wanted) if (!there(name)) faults.push(`an acknowledged ${what} is lost: ${name}`)
    }
    lost('registration', facts.registered, (name) => nodes.has(name) || known.has(name))
    lost('approval', facts.approved, (name) => nodes.has(name))
    lost('policy', facts.policies, (name) => policies.has(name))
    lost('invocation', facts.ran, (name) => fleet.runs.has(name))
  } finally {
    await client.end()
  }
  for (const [key, times] of fleet.runs) if (times > 1) faults.push(`${key} was run ${times} times`)
  const admin = await connect({ socket: (await processOf(await leaderOf(slots))).control })
  const { whole } = await admin.do('admin', 'audit/verify', {})
  if (whole !== true) faults.push('the audit chain is not whole')
  admin.mqtt.end(true)
  return faults
}
