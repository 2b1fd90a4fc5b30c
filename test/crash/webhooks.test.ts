import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { type BridgeProcess, startBridge } from '../support/bridge-process.ts'
import { connectControl } from '../support/control-client.ts'
import { patience } from '../support/patience.ts'
import { type Received, receiver, signatureOf } from '../support/receiver.ts'

/** Deliveries to webhooks, over `kill -9` of the bridge as a process. */

const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`
const LIMBS = Array.from({ length: 40 }, (_, i) => `limb${i}`)

async function inFolder(webhook: object): Promise<() => Promise<BridgeProcess>> {
  const folder = mkdtempSync(join(tmpdir(), 'limb-hooks-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return async () => {
    const bridge = await startBridge({ folder, settings: { webhooks: [webhook] } })
    onTestFinished(() => bridge.kill())
    return bridge
  }
}

const hook = (port: number) => ({
  name: 'hook',
  url: `http://127.0.0.1:${port}/in`,
  networks: ['127.0.0.1'],
  secret: SECRET,
  events: ['policy_set'],
})

async function listed(bridge: BridgeProcess) {
  const control = await connectControl(bridge.control)
  const { items } = await control.do('webhook/list', {})
  control.client.end()
  return (items as { queued: number; dropped: number }[])[0]
}

async function makeEvents(bridge: BridgeProcess): Promise<void> {
  const control = await connectControl(bridge.control)
  for (const nodeId of LIMBS)
    await control.do('policy/set', { principal: '*', nodeId, capability: '*', level: 'denied' })
  control.client.end()
}

const idOf = ({ headers }: Received) => String(headers['webhook-id'])
const limbOf = ({ json }: Received) => String(json.data.nodeId)

it(
  'what waits is sent after each kill, and what was under way comes again with its id and text',
  async () => {
    const server = await receiver()
    onTestFinished(async () => void (await server.close()))
    const start = await inFolder(hook(server.port))
    server.state.silent = true
    const first = await start()
    await makeEvents(first)
    await expect
      .poll(() => listed(first), { timeout: patience(10_000) })
      .toMatchObject({ queued: LIMBS.length })
    await server.nth(0)
    await first.kill()
    const before = server.taken.length

    const second = await start()
    const repeated = await server.nth(before)
    expect(repeated).toMatchObject({ text: server.taken[before - 1]?.text })
    expect(idOf(repeated)).toBe(idOf(server.taken[before - 1] ?? repeated))
    await second.kill()
    const silent = server.taken.length
    server.state.silent = false

    const third = await start()
    await server.nth(silent + LIMBS.length / 2)
    await third.kill()

    const fourth = await start()
    await expect
      .poll(() => listed(fourth), { timeout: patience(10_000) })
      .toMatchObject({ queued: 0, dropped: 0 })
    const accepted = server.taken.slice(silent)
    expect(new Set(accepted.map(limbOf))).toEqual(new Set(LIMBS))
    // One was under way at the kill, at most.
    expect(accepted.length).toBeLessThanOrEqual(LIMBS.length + 1)
    expect(new Set(server.taken.map(idOf)).size).toBe(LIMBS.length)
    for (const each of server.taken) expect(each.headers['webhook-signature']).toBe(signatureOf(SECRET, each))
    await fourth.stop()
  },
  patience(60_000),
)
