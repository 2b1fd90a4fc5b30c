import type { IClientOptions } from 'mqtt'
import { afterAll, describe, expect, it } from 'vitest'
import { keyOf, REGISTRATION, startApp } from '../../support/app.ts'
import { connect, type TestClient } from '../../support/client.ts'

const topic = (nodeId: string, leaf: string) => `limb/node/${nodeId}/${leaf}`
const FREE = {
  ...REGISTRATION,
  capabilities: [{ cap: 'camera', commands: ['camera.snap'], authLevel: 'free' }],
}

const { firmware: _, ...PROVISIONED } = FREE

const app = await startApp({ http: { enabled: true, port: 0 } }, { memory: true })
const admin = await app.admin()
afterAll(() => app[Symbol.asyncDispose]())

/** Connects, subscribes what most programs do at once, and registers. */
async function claim(device: TestClient, nodeId: string): Promise<{ granted: number[]; requestId: string }> {
  const granted = await device.subscribe([topic(nodeId, 'pairing'), topic(nodeId, 'invoke')])
  await device.publish(topic(nodeId, 'register'), FREE)
  const { json } = await device.next(topic(nodeId, 'pairing'))
  return { granted, requestId: json.requestId }
}

/** Answers the next invocation of `nodeId` and gives what it was sent. */
async function answer(device: TestClient, nodeId: string) {
  const { json } = await device.next(topic(nodeId, 'invoke'))
  await device.publish(topic(nodeId, 'result'), { invocationId: json.invocationId, success: true })
  return json
}

const snap = (nodeId: string) =>
  admin.ask('admin', 'invoke', { nodeId, capability: 'camera', command: 'camera.snap' })

describe('a candidate that subscribed `pairing` and `invoke` when it connected', () => {
  const ways: [string, IClientOptions & { url?: string }][] = [
    ['over TCP', {}],
    ['with a session that is to be kept', { clean: false }],
    ['over WebSocket', { url: 'ws' }],
    ['with MQTT 3.1', { protocolId: 'MQIsdp', protocolVersion: 3 }],
  ]
  it.each(ways)('is invoked right after its approval, %s', async (way, { url, ...options }) => {
    const nodeId = `cam-${ways.findIndex(([name]) => name === way)}`
    const device = url
      ? await connect(
          { url: `ws://127.0.0.1:${app.bridge.http?.port}/mqtt` },
          { username: nodeId, password: keyOf(nodeId), ...options },
        )
      : await app.device(nodeId, keyOf(nodeId), options)
    const { granted, requestId } = await claim(device, nodeId)
    expect(granted).toEqual([1, 1])
    await admin.do('admin', 'pairing/approve', { requestId })
    expect((await device.next(topic(nodeId, 'pairing'))).json.status).toBe('approved')
    await device.publish(topic(nodeId, 'heartbeat'), '')
    const asked = snap(nodeId)
    expect(await answer(device, nodeId)).toMatchObject({ command: 'camera.snap' })
    expect((await asked).ok).toBe(true)
    device.mqtt.end(true)
  })

  it('is told nothing there before the approval, whoever has its name', async () => {
    const limb = await app.limb('cam8', FREE)
    await limb.subscribe(topic('cam8', 'invoke'))
    await limb.publish(topic('cam8', 'heartbeat'), '')
    const impostor = await app.device('cam8', keyOf('another'))
    const { granted } = await claim(impostor, 'cam8')
    expect(granted).toEqual([1, 1])
    const asked = snap('cam8')
    await answer(limb, 'cam8')
    expect((await asked).ok).toBe(true)
    await impostor.settle()
    expect(impostor.waiting).toEqual([])
  })

  it('is invoked when the pairing window, or its being provisioned, made it the limb', async () => {
    await admin.do('admin', 'pairing/permit', { seconds: 60, nodeId: 'cam9' })
    const ninth = await app.device('cam9', keyOf('cam9'))
    await claim(ninth, 'cam9')
    const tenth = await app.device('cam10', keyOf('cam10'))
    await tenth.subscribe([topic('cam10', 'pairing'), topic('cam10', 'invoke')])
    await admin.do('admin', 'node/provision', { nodeId: 'cam10', apiKey: keyOf('cam10'), ...PROVISIONED })
    for (const [device, nodeId] of [
      [ninth, 'cam9'],
      [tenth, 'cam10'],
    ] as const) {
      await device.publish(topic(nodeId, 'heartbeat'), '')
      const asked = snap(nodeId)
      await answer(device, nodeId)
      expect((await asked).ok).toBe(true)
    }
  })
})
