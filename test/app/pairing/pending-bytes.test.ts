import { once } from 'node:events'
import { expect, test } from 'vitest'
import { keyOf, REGISTRATION, startApp, type TestApp } from '../../support/app.ts'
import { connectPacket, publishPacket } from '../../support/mqtt-wire.ts'
import { proxied, version2 } from '../../support/proxy.ts'

/** What nobody has approved is small, in all. */

/** A registration of some twelve KiB. */
function wide(label: string) {
  const commands = Array.from({ length: 60 }, (_, i) => `camera.${label}${'x'.repeat(40)}${i}`)
  const capabilities = Array.from({ length: 4 }, (_, i) => ({
    cap: `camera${i}`,
    commands,
    authLevel: 'free',
  }))
  return { ...REGISTRATION, capabilities }
}

async function claim(app: TestApp, nodeId: string, registration: object) {
  const device = await app.device(nodeId, keyOf(nodeId))
  await device.subscribe(`limb/node/${nodeId}/pairing`)
  await device.publish(`limb/node/${nodeId}/register`, registration)
  return (await device.next(`limb/node/${nodeId}/pairing`)).json
}

const settings = (maxPendingBytes: number) => ({ pairing: { maxPendingBytes, maxPendingPerAddress: 100 } })

test('a stranger’s registration above 16 KiB is refused with what to do, and a limb’s own is not', async () => {
  await using app = await startApp({}, { memory: true })
  const large = { ...wide('a'), capabilities: [...wide('a').capabilities, ...wide('b').capabilities] }
  large.capabilities = large.capabilities.map((each, i) => ({ ...each, cap: `cap${i}` }))
  expect(await claim(app, 'cam1', large)).toMatchObject({
    status: 'error',
    error: { code: 'invalid_request', message: expect.stringMatching(/16384 bytes.*after the approval/) },
  })
  const limb = await app.limb('cam2')
  await limb.publish('limb/node/cam2/register', large)
  expect((await limb.next('limb/node/cam2/pairing')).json).toMatchObject({ status: 'approved' })
})

test('requests together have a bound in bytes, and lists and pages of them too', async () => {
  await using app = await startApp(settings(262_144), { memory: true })
  const answers = []
  for (let i = 0; i < 26; i++) answers.push(await claim(app, `cam${i}`, wide(`n${i}`)))
  const pending = answers.filter(({ status }) => status === 'pending').length
  expect(pending).toBeGreaterThan(15)
  expect(pending).toBeLessThan(26)
  expect(answers.at(-1)).toMatchObject({ error: { code: 'too_many_requests' } })
  // A small one still fits, and the same again is no further one.
  expect(await claim(app, 'tiny', REGISTRATION)).toMatchObject({ status: 'pending' })
  expect(await claim(app, 'cam0', wide('n0'))).toMatchObject({ status: 'pending' })
})

test('a start keeps those that were heard of last within the bounds, and ends the others before it loads them', async () => {
  await using app = await startApp(settings(1_048_576))
  for (let i = 0; i < 30; i++) await claim(app, `cam${i}`, wide(`n${i}`))
  await app.restart(settings(262_144))
  const admin = await app.admin()
  const { items } = await admin.do('admin', 'pairing/list', { limit: 1000 })
  expect(items.length).toBeGreaterThan(10)
  expect(items.length).toBeLessThan(25)
  expect(items.map(({ nodeId }: { nodeId: string }) => nodeId)).toContain('cam29')
  expect(items.map(({ nodeId }: { nodeId: string }) => nodeId)).not.toContain('cam0')
  expect(app.logLines.find(({ ended }) => ended !== undefined)).toMatchObject({ level: 'warn' })
})

test('watchers hear of a request once a second, the newest of it, however often it changes', async () => {
  await using app = await startApp({}, { fakeClock: true, memory: true })
  const admin = await app.admin()
  await admin.subscribe('limb/bridge/event/pairing_requested')
  const device = await app.device('cam1', keyOf('cam1'))
  await device.subscribe('limb/node/cam1/pairing')
  for (let i = 0; i < 10; i++) {
    await device.publish('limb/node/cam1/register', { ...REGISTRATION, firmware: `1.0.${i}` })
    await device.next('limb/node/cam1/pairing')
  }
  expect((await admin.next('limb/bridge/event/pairing_requested')).json.request).toMatchObject({
    revision: 1,
  })
  app.clock.advance(1000)
  expect((await admin.next('limb/bridge/event/pairing_requested')).json.request).toMatchObject({
    revision: 10,
  })
})

test('requests from one address have a bound of their own, an IPv6 network being one address', async () => {
  const mqtt = { port: 0, proxyNetworks: ['127.0.0.0/8'] }
  await using app = await startApp({ mqtt, pairing: { maxPendingPerAddress: 2 } }, { memory: true })
  const admin = await app.admin()
  const asked = async (nodeId: string, source: string) => {
    const socket = await proxied(app.bridge.mqtt.port, version2({ source }))
    socket.on('error', () => undefined)
    socket.write(connectPacket({ clientId: nodeId, username: nodeId, password: keyOf(nodeId) }))
    await once(socket, 'data')
    // PUBACK: it was decided.
    socket.write(publishPacket(`limb/node/${nodeId}/register`, JSON.stringify(REGISTRATION), 1))
    await once(socket, 'data')
    socket.destroy()
    const { items } = await admin.do('admin', 'pairing/list')
    return items.some((item: { nodeId: string }) => item.nodeId === nodeId)
  }
  expect(await asked('a1', '192.0.2.7')).toBe(true)
  expect(await asked('a2', '192.0.2.7')).toBe(true)
  expect(await asked('a3', '192.0.2.7')).toBe(false)
  expect(await asked('b1', '192.0.2.8')).toBe(true)
  expect(await asked('c1', '2001:db8::1')).toBe(true)
  expect(await asked('c2', '2001:db8::2')).toBe(true)
  expect(await asked('c3', '2001:db8::3')).toBe(false)
})
