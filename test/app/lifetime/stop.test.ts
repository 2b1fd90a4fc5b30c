import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startBridge } from '../../support/bridge-process.ts'
import { connect, type TestClient } from '../../support/client.ts'
import { connectControl } from '../../support/control-client.ts'
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

  it('stores no principal, token or limb whose secret, which is shown once, did not reach who asked', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'limb-stop-'))
    let bridge = await startBridge({ folder })
    try {
      const { token } = await (await connectControl(bridge.control)).do('token/add', { name: 'load' })
      const url = `http://127.0.0.1:${bridge.http?.port}/api/v1`
      const headers = { authorization: `Bearer ${token}` }
      const answered = new Set<string>(['admin', 'load'])
      const first = Promise.withResolvers<void>()
      const asked: Promise<void>[] = []
      const ask = (name: string, answer: Promise<{ ok: boolean }>) =>
        asked.push(
          answer.then(
            ({ ok }) => {
              if (ok) answered.add(name)
              first.resolve()
            },
            () => {},
          ),
        )
      for (let i = 0; i < 4; i++) {
        // A name of its own: the sessions of one principal hear each other's answers.
        const control = await connectControl(bridge.control, `ops${i}`)
        const things = [
          ['principal/add', `p${i}`, { name: `p${i}`, role: 'viewer' }],
          ['token/add', `t${i}`, { name: `t${i}`, principal: 'admin' }],
          ['node/provision', `n${i}`, { nodeId: `n${i}` }],
          ['principal/add', `q${i}`, { name: `q${i}`, role: 'viewer' }],
        ] as const
        for (const [verb, name, args] of things) ask(name, control.ask(verb, args))
        const body = JSON.stringify({ name: `h${i}`, role: 'viewer' })
        ask(
          `h${i}`,
          fetch(`${url}/principal/add`, { method: 'POST', headers, body }).then(async (response) => {
            await response.text()
            return response
          }),
        )
      }
      await first.promise
      expect(await bridge.stop()).toBe(0)
      await Promise.all(asked)

      bridge = await startBridge({ folder })
      const later = await connectControl(bridge.control)
      const principals = await later.list<{ name: string }>('principal/list')
      const tokens = await later.list<{ name: string }>('token/list')
      const limbs = await later.list<{ nodeId: string }>('node/list')
      const stored = [...principals, ...tokens]
        .map(({ name }) => name)
        .concat(limbs.map(({ nodeId }) => nodeId))
      expect(stored.filter((name) => !answered.has(name))).toEqual([])
    } finally {
      await bridge.kill()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
