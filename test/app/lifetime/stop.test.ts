import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startBridge } from '../../support/bridge-process.ts'
import { connect, type TestClient } from '../../support/client.ts'
import { importFleet } from '../../support/import-fleet.ts'
import { patience } from '../../support/patience.ts'
import { connectRaw } from '../../support/raw-client.ts'

const LIMBS = 1000

/** Resolves when every limb was seen with this status. */
async function everyLimb(admin: TestClient, status: string): Promise<void> {
  const seen = new Set<string>()
  while (seen.size < LIMBS) {
    const message = await admin
      .next(({ text }) => text === status)
      .catch((error: Error) => {
        throw new Error(`${seen.size} of ${LIMBS} were seen ${status}: ${error.message}`)
      })
    seen.add(message.topic)
  }
}

describe('SIGTERM', () => {
  it('ends a bridge with 1,000 connected limbs within 5 s, exit code 0, everybody offline and their times stored', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'limb-stop-'))
    let bridge = await startBridge({ folder, settings: { http: { enabled: false } } })
    try {
      const admin = await connect({ socket: bridge.control })
      const nodes = Array.from({ length: LIMBS }, (_, i) => ({
        nodeId: `n${i}`,
        apiKey: `key-of-limb-number-${i}-long`,
      }))
      await importFleet((verb, args) => admin.do('admin', verb, args), nodes)
      await Promise.all(
        nodes.map(async ({ nodeId, apiKey }) => {
          const limb = await connectRaw(bridge.mqtt, { clientId: nodeId, username: nodeId, password: apiKey })
          await limb.publish(`limb/node/${nodeId}/heartbeat`, '')
        }),
      )
      await admin.subscribe('limb/node/+/status')
      await everyLimb(admin, 'online')

      const started = performance.now()
      expect(await bridge.stop()).toBe(0)
      expect(performance.now() - started).toBeLessThan(patience(2500))
      await everyLimb(admin, 'offline')

      bridge = await startBridge({ folder, settings: { http: { enabled: false } } })
      const later = await connect({ socket: bridge.control })
      const { items } = await later.do('admin', 'node/list', { limit: 1000 })
      expect(items).toHaveLength(LIMBS)
      for (const item of items) {
        expect(item).toMatchObject({
          status: 'offline',
          reason: 'bridge_restart',
          lastHeartbeatAt: expect.any(String),
        })
      }
      later.mqtt.end(true)
    } finally {
      await bridge.kill()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
