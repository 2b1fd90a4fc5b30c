import { randomBytes } from 'node:crypto'
import { keyOf, REGISTRATION } from '../support/app.ts'
import type { BridgeProcess } from '../support/bridge-process.ts'
import { connect, type TestClient } from '../support/client.ts'

/** Limbs that live through everything a limb can, over and over, under the same few names. */

export interface Tally {
  lives: number
  pairings: number
  heartbeats: number
  reconnects: number
  retained: number
  revocations: number
}

export function newTally(): Tally {
  return { lives: 0, pairings: 0, heartbeats: 0, reconnects: 0, retained: 0, revocations: 0 }
}

/** One life: register, approve, work, vanish, come back to a stored session, leave data behind, be revoked. */
async function live(bridge: BridgeProcess, admin: TestClient, nodeId: string, tally: Tally): Promise<void> {
  const key = randomBytes(24).toString('hex')
  const { port } = bridge.mqtt
  const as = { username: nodeId, password: key }
  const topic = (leaf: string) => `limb/node/${nodeId}/${leaf}`

  const device = await connect({ port }, as)
  await device.subscribe(topic('pairing'))
  await device.publish(topic('register'), REGISTRATION)
  const { json } = await device.next(topic('pairing'))
  await admin.do('admin', 'pairing/approve', { requestId: json.requestId })
  await device.next(topic('pairing'))
  tally.pairings++
  await beat(device, nodeId, tally)
  device.cut()

  const stored = { ...as, clientId: `session-${nodeId}`, clean: false }
  const back = await connect({ port }, stored)
  await back.subscribe([topic('pairing'), topic('invoke')])
  await beat(back, nodeId, tally)
  await back.publish(topic('data/reading'), randomBytes(500), { qos: 1, retain: true })
  tally.retained++
  back.cut()
  const again = await connect({ port }, stored)
  tally.reconnects += 2
  await beat(again, nodeId, tally)
  await again.end()

  await admin.do('admin', 'node/history', { nodeId })
  await admin.do('admin', 'node/revoke', { nodeId })
  tally.revocations++
  tally.lives++
}

/** One that stays paired, and comes and goes all day. */
async function flap(bridge: BridgeProcess, nodeId: string, tally: Tally): Promise<void> {
  const device = await connect({ port: bridge.mqtt.port }, { username: nodeId, password: keyOf(nodeId) })
  for (let i = 0; i < 10; i++) {
    await device.publish(`limb/node/${nodeId}/heartbeat`)
    await device.publish(`limb/node/${nodeId}/deregister`)
    tally.heartbeats++
  }
  await device.end()
}

async function beat(client: TestClient, nodeId: string, tally: Tally): Promise<void> {
  for (const status of ['online', 'busy', 'degraded']) {
    await client.publish(`limb/node/${nodeId}/heartbeat`, { status, metrics: { temperature: 20 } })
    tally.heartbeats++
  }
}

/** Somebody who watches over a stored session, is away, and finds what was queued. */
async function watch(bridge: BridgeProcess, name: string, password: string): Promise<void> {
  const client = await connect(
    { port: bridge.mqtt.port },
    { username: name, password, clientId: `watch-${name}`, clean: false },
  )
  await client.subscribe(['limb/node/+/state', 'limb/node/+/data/#', 'limb/bridge/#'])
  await new Promise((resolve) => setTimeout(resolve, 500))
  client.cut()
}

/** Churns until `until` (of performance.now) with so many limbs at once; then nobody is connected. */
export async function churn(
  bridge: BridgeProcess,
  options: {
    readonly until: number
    readonly limbs: number
    readonly tally: Tally
    readonly watcher: string
  },
): Promise<void> {
  const { until, limbs, tally, watcher } = options
  const over = () => performance.now() >= until
  const lane = async (lane: number) => {
    const admin = await connect({ socket: bridge.control })
    const resident = `resident-${lane}`
    await admin.ask('admin', 'node/provision', { nodeId: resident, apiKey: keyOf(resident) })
    // Lives of one lane come one after the other under three names.
    for (let i = 0; !over(); i++) {
      await live(bridge, admin, `limb-${lane}-${i % 3}`, tally)
      await flap(bridge, resident, tally)
    }
    await admin.end()
  }
  const watching = async () => {
    while (!over()) await watch(bridge, 'watcher', watcher)
  }
  await Promise.all([...Array.from({ length: limbs }, (_, i) => lane(i)), watching()])
}
