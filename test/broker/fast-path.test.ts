import { Session as Inspector } from 'node:inspector/promises'
import { expect, onTestFinished, test } from 'vitest'
import { start } from './fixture.ts'
import { PUBACK, publishPacket } from './wire.ts'

const HEARTBEATS = 50

/** How often functions of each file under src/broker were called, by the file's name. */
async function callsDuring(work: () => Promise<void>): Promise<Map<string, number>> {
  const inspector = new Inspector()
  inspector.connect()
  onTestFinished(() => inspector.disconnect())
  await inspector.post('Profiler.enable')
  await inspector.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
  await work()
  const { result } = await inspector.post('Profiler.takePreciseCoverage')
  await inspector.post('Profiler.stopPreciseCoverage')
  const calls = new Map<string, number>()
  for (const { url, functions } of result) {
    const file = /\/src\/broker\/(.+\.ts)/.exec(url)?.[1]
    if (file === undefined) continue
    const counts = functions.map(({ ranges }) => ranges[0]?.count ?? 0)
    calls.set(file, (calls.get(file) ?? 0) + counts.reduce((sum, count) => sum + count, 0))
  }
  return calls
}

test('a steady heartbeat enters the session at most twice', async () => {
  const { connect, core } = await start()
  const limb = await connect({ username: 'cam1', password: 'key' })
  const beat = async (id: number) => {
    limb.send(publishPacket('limb/node/cam1/heartbeat', '{}', { qos: 1, id }))
    await limb.ack(PUBACK, id)
  }
  await beat(1)
  const calls = await callsDuring(async () => {
    for (let id = 2; id <= HEARTBEATS + 1; id++) await beat(id)
  })
  expect(core.heartbeats).toBe(HEARTBEATS + 1)
  // The guard was entered, so calls are counted.
  expect(calls.get('guard.ts') ?? 0).toBeGreaterThanOrEqual(HEARTBEATS)
  expect(calls.get('session.ts') ?? 0).toBeLessThanOrEqual(2 * HEARTBEATS)
})
