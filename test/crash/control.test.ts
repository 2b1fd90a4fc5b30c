import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type BridgeProcess, startBridge } from '../support/bridge-process.ts'
import { connect, type Loose, type TestClient } from '../support/client.ts'
import { ROBOT } from '../support/worker.ts'

/** `kill -9` in the middle of calls, leases and approvals: nothing ends silently, nothing runs twice. */

const folders: string[] = []
const clients: TestClient[] = []
const bridges: BridgeProcess[] = []
afterEach(async () => {
  for (const client of clients.splice(0)) client.mqtt.end(true)
  for (const bridge of bridges.splice(0)) await bridge.kill()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

async function start(folder: string): Promise<BridgeProcess> {
  const bridge = await startBridge({ folder })
  bridges.push(bridge)
  return bridge
}

async function client(bridge: BridgeProcess, username: string, password: string): Promise<TestClient> {
  const connected = await connect({ port: bridge.mqtt.port }, { username, password })
  clients.push(connected)
  return connected
}

async function operator(bridge: BridgeProcess): Promise<TestClient> {
  const admin = await connect({ socket: bridge.control })
  clients.push(admin)
  return admin
}

const KEY = 'r1-'.padEnd(24, 'k')

async function robot(bridge: BridgeProcess): Promise<TestClient> {
  const limb = await client(bridge, 'r1', KEY)
  await limb.subscribe('limb/node/r1/invoke')
  await limb.publish('limb/node/r1/heartbeat')
  return limb
}

async function stage() {
  const folder = mkdtempSync(join(tmpdir(), 'limb-crash-'))
  folders.push(folder)
  const bridge = await start(folder)
  const admin = await operator(bridge)
  await admin.do('admin', 'node/provision', { nodeId: 'r1', apiKey: KEY, capabilities: ROBOT.capabilities })
  await admin.do('admin', 'principal/add', { name: 'ann', role: 'agent', password: 'ann-password' })
  return {
    folder,
    bridge,
    admin,
    limb: await robot(bridge),
    ann: await client(bridge, 'ann', 'ann-password'),
  }
}

describe('after kill -9', () => {
  it('running, waiting and queued calls have ended as interrupted, for their keys and on record', async () => {
    const { folder, bridge, admin, limb, ann } = await stage()
    await admin.subscribe('limb/bridge/approval/+')
    const { fence } = await ann.do('ann', 'lease/acquire', { nodeId: 'r1', capability: 'arm' })
    const calls = {
      free: { nodeId: 'r1', command: 'camera.snap' },
      keyed: { nodeId: 'r1', command: 'camera.snap', idempotencyKey: 'keyed' },
      leased: { nodeId: 'r1', command: 'arm.move' },
      gated: { nodeId: 'r1', command: 'saw.cut', idempotencyKey: 'gated' },
      approved: { nodeId: 'r1', command: 'saw.cut', idempotencyKey: 'approved' },
    }
    for (const args of Object.values(calls)) await ann.publish('limb/principal/ann/request/invoke', args)
    const approvals = [await admin.next(isApproval), await admin.next(isApproval)]
    const invocationId: string = approvals[1]?.json.invocationId
    await admin.do('admin', 'invocation/approve', { invocationId })
    for (let i = 0; i < 4; i++) await limb.next('limb/node/r1/invoke')
    expect((await admin.do('admin', 'invocation/list')).items).toHaveLength(5)
    await bridge.kill()

    const again = await start(folder)
    const adminAgain = await operator(again)
    await adminAgain.subscribe('limb/bridge/approval/+')
    const { items } = await adminAgain.do('admin', 'invocation/list')
    expect(items.map((item: Loose) => [item.state, item.error.message])).toEqual(
      Array.from({ length: 5 }, () => ['interrupted', 'bridge restarted']),
    )
    const ended = await adminAgain.do('admin', 'audit/list', { kind: 'invocation.ended' })
    expect(ended.items.map((row: Loose) => row.outcome)).toEqual(Array(5).fill('interrupted'))
    expect((await adminAgain.do('admin', 'audit/verify')).whole).toBe(true)
    // An old yes is worth nothing, and no question is left over.
    expect((await adminAgain.ask('admin', 'invocation/approve', { invocationId })).error.code).toBe(
      'conflict',
    )
    expect(adminAgain.waiting.filter(isApproval)).toEqual([])

    const limbAgain = await robot(again)
    const annAgain = await client(again, 'ann', 'ann-password')
    for (const args of [calls.keyed, calls.gated, calls.approved]) {
      const { error } = await annAgain.ask('ann', 'invoke', args)
      expect(error).toMatchObject({ code: 'internal', message: 'bridge restarted' })
    }
    const lease = await annAgain.do('ann', 'lease/acquire', { nodeId: 'r1', capability: 'arm' })
    expect(lease.fence).toBeGreaterThan(fence)
    expect(limbAgain.waiting.filter((message) => message.topic.endsWith('/invoke'))).toEqual([])
  })

  it.each([1, 20, 60])(
    'in the middle of a stream of invocations, of which the limb has %i, no keyed one that it was sent runs again or is unknown',
    async (enough) => {
      const { folder, bridge, limb, ann } = await stage()
      const told: string[] = []
      limb.mqtt.on('message', (topic, payload) => {
        if (!topic.endsWith('/invoke')) return
        const { invocationId, params } = JSON.parse(payload.toString())
        told.push(params.key)
        limb.mqtt.publish(
          'limb/node/r1/result',
          JSON.stringify({ invocationId, success: true, data: params.key }),
        )
      })
      const answered = new Map<string, Loose>()
      ann.mqtt.on('message', (_, payload) => {
        const { transaction, ...answer } = JSON.parse(payload.toString())
        answered.set(transaction, answer)
      })
      await ann.subscribe('limb/principal/ann/response/invoke')
      const call = (key: string) => ({
        nodeId: 'r1',
        command: 'camera.snap',
        params: { key },
        idempotencyKey: key,
      })
      let sent = 0
      const sending = setInterval(() => {
        for (let i = 0; i < 3; i++) {
          const args = JSON.stringify({ transaction: `k${sent}`, ...call(`k${sent++}`) })
          ann.mqtt.publish('limb/principal/ann/request/invoke', args, { qos: 1 })
        }
      }, 1)
      await expect.poll(() => told.length, { interval: 1 }).toBeGreaterThanOrEqual(enough)
      clearInterval(sending)
      await bridge.kill()

      const again = await start(folder)
      const limbAgain = await robot(again)
      const annAgain = await client(again, 'ann', 'ann-password')
      const toldBefore = new Set(told)
      expect(toldBefore.size).toBe(told.length)
      for (const key of toldBefore) {
        const answer = await annAgain.ask('ann', 'invoke', call(key))
        const first = answered.get(key)
        if (first?.ok) expect(answer.data).toEqual(first.data)
        else if (!answer.ok) expect(answer.error.message).toBe('bridge restarted')
      }
      expect(limbAgain.waiting.filter((message) => message.topic.endsWith('/invoke'))).toEqual([])
      expect((await (await operator(again)).do('admin', 'audit/verify')).whole).toBe(true)
    },
  )
})

function isApproval(message: { topic: string; text: string }): boolean {
  return message.topic.includes('/approval/') && message.text !== ''
}
