import { describe, expect, it } from 'vitest'
import { keyOf, REGISTRATION, startApp } from '../../support/app.ts'

const LARGE = {
  ...REGISTRATION,
  capabilities: Array.from({ length: 4 }, (_, i) => ({
    cap: `capability-${i}`,
    commands: Array.from({ length: 4 }, (_, j) => `capability-${i}.command-${j}`),
    authLevel: 'leased',
  })),
}

describe('a registration with `brief`', () => {
  it('is answered `approved` within the 256 bytes of PubSubClient, at the approval and at each registration', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin()
    const nodeId = 'a-sensor-with-a-rather-long-name'
    const topic = `limb/node/${nodeId}/pairing`
    const device = await app.device(nodeId)
    await device.subscribe(topic)
    await device.publish(`limb/node/${nodeId}/register`, { ...LARGE, brief: true })
    const { json } = await device.next(topic)
    await admin.do('admin', 'pairing/approve', { requestId: json.requestId })
    const approved = await device.next(topic)
    expect(approved.json).toEqual({ status: 'approved', heartbeatSeconds: 15, timeoutSeconds: 45 })
    const frame = (text: string) => 5 + 2 + topic.length + 2 + text.length
    expect(frame(approved.text)).toBeLessThanOrEqual(256)
    await admin.do('admin', 'node/rotate-key', { nodeId })
    const rotated = await device.next(topic)
    expect(rotated.json.apiKey).toEqual(expect.any(String))
    expect(frame(rotated.text)).toBeLessThanOrEqual(256)
    // The next registration says how the next answer is to be.
    await device.publish(`limb/node/${nodeId}/register`, { ...LARGE, brief: true })
    expect((await device.next(topic)).json).not.toHaveProperty('capabilities')
    await device.publish(`limb/node/${nodeId}/register`, LARGE)
    expect((await device.next(topic)).json.capabilities).toHaveLength(4)
    // What is asked of the answer is no part of what is approved.
    expect(await admin.do('admin', 'node/get', { nodeId })).not.toHaveProperty('brief')
  })
})

describe('a client with empty fields', () => {
  it('has no user name: its client id is its nodeId', async () => {
    await using app = await startApp({}, { memory: true })
    const limb = await app.limb('cam1')
    await limb.end()
    const again = await app.device('', keyOf('cam1'), { clientId: 'cam1' })
    expect(await again.subscribe('limb/node/cam1/invoke')).toEqual([1])
    await again.publish('limb/node/cam1/heartbeat', '')
    const admin = await app.admin()
    expect((await admin.do('admin', 'node/get', { nodeId: 'cam1' })).status).toBe('online')
  })
})

it('more devices than pairing.maxPendingPerAddress ask behind a proxy on the same machine', async () => {
  await using app = await startApp({ pairing: { maxPendingPerAddress: 2 } }, { memory: true })
  for (let i = 0; i < 5; i++) {
    const device = await app.device(`cam${i}`, keyOf(`cam${i}`))
    await device.subscribe(`limb/node/cam${i}/pairing`)
    await device.publish(`limb/node/cam${i}/register`, REGISTRATION)
    expect((await device.next(`limb/node/cam${i}/pairing`)).json.status).toBe('pending')
  }
})
