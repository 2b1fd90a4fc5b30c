import { once } from 'node:events'
import { connect as connectSocket, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { startApp, type TestApp } from '../../support/app.ts'
import { importFleet } from '../../support/import-fleet.ts'
import {
  connectPacket,
  PACKET,
  PacketReader,
  publishPacket,
  subscribePacket,
} from '../../support/mqtt-wire.ts'
import { patience } from '../../support/patience.ts'

/** Answers wait for those who ask, and nobody is ended for what another session asked. */

const RESPONSES = 'limb/principal/dash/response/#'
const REQUEST = 'limb/principal/dash/request/node/list'

/** A page of `node/list` is some 400 KiB then. */
async function startFull(): Promise<TestApp & AsyncDisposable> {
  const app = await startApp({ mqtt: { port: 0, maxWorkMsPerSecond: 1000 } }, { memory: true })
  const admin = await app.admin()
  await admin.do('admin', 'principal/add', { name: 'dash', role: 'viewer', password: 'dash-password' })
  const nodes = Array.from({ length: 1000 }, (_, i) => ({
    nodeId: `cam${i}`,
    displayName: 'n'.repeat(100),
    capabilities: [{ cap: 'camera', commands: ['camera.snap'], authLevel: 'free' }],
  }))
  await importFleet((verb, args) => admin.do('admin', verb, args), nodes)
  await admin.end()
  return app
}

/** A client of the principal that is subscribed to all its answers and reads nothing from then on. */
async function stuckClient(app: TestApp, clientId: string): Promise<Socket> {
  const socket = connectSocket(app.bridge.mqtt.port, '127.0.0.1')
  socket.on('error', () => {})
  const subscribed = new Promise<void>((resolve) => {
    const reader = new PacketReader((first) => first >> 4 === PACKET.suback && resolve())
    socket.on('data', (chunk: Buffer) => reader.push(chunk))
  })
  socket.write(connectPacket({ clientId, username: 'dash', password: 'dash-password' }))
  socket.write(subscribePacket(RESPONSES, 1, 1))
  await subscribed
  socket.removeAllListeners('data')
  socket.pause()
  return socket
}

function overruns(app: TestApp): number {
  return app.logLines.filter(({ msg }) => String(msg).includes('does not read what it is sent')).length
}

test(
  'a client that asks for thirty large pages at once and reads them gets them all',
  async () => {
    await using app = await startFull()
    const dash = await app.principal('dash', 'dash-password')
    await dash.subscribe(RESPONSES)
    const asked = Array.from({ length: 30 }, (_, i) => dash.publish(REQUEST, { transaction: i, limit: 1000 }))
    for (let i = 0; i < 30; i++) {
      const { json } = await dash.next(({ json }) => json.transaction === i)
      expect(json.data?.items?.length).toBeGreaterThan(100)
    }
    await Promise.all(asked)
    expect(overruns(app)).toBe(0)
  },
  patience(30_000),
)

test(
  'a client that asks for thirty large pages at once and reads late is held back meanwhile, and gets them all',
  async () => {
    await using app = await startFull()
    const late = await stuckClient(app, 'late')
    const requests = Array.from({ length: 30 }, (_, i) => publishPacket(REQUEST, '{"limit":1000}', i + 2))
    late.write(Buffer.concat(requests))
    // While it waits, another session of its principal is served.
    const dash = await app.principal('dash', 'dash-password')
    for (let i = 0; i < 5; i++) expect((await dash.ask('dash', 'node/list', { limit: 10 })).ok).toBe(true)
    expect(overruns(app)).toBe(0)
    let pages = 0
    const all = new Promise<void>((resolve) => {
      const reader = new PacketReader((first, body) => {
        if (first >> 4 === PACKET.publish && body.length > 200_000 && ++pages === 30) resolve()
      })
      late.on('data', (chunk: Buffer) => reader.push(chunk))
    })
    late.resume()
    await Promise.race([all, once(late, 'close')])
    expect(pages).toBe(30)
    late.destroy()
  },
  patience(30_000),
)

test(
  'sessions that do not read are not sent, nor ended for, what another session of the principal asks',
  async () => {
    await using app = await startFull()
    const stuck = await Promise.all(Array.from({ length: 10 }, (_, i) => stuckClient(app, `stuck${i}`)))
    const dash = await app.principal('dash', 'dash-password')
    for (let i = 0; i < 40; i++) {
      const { data } = await dash.ask('dash', 'node/list', { limit: 1000 })
      expect(data.items.length).toBeGreaterThan(100)
    }
    expect(overruns(app)).toBe(0)
    expect(app.logLines.some(({ msg }) => String(msg).includes('reads too slowly'))).toBe(true)
    const admin = await app.admin()
    const { items } = await admin.do('admin', 'session/list', { name: 'dash' })
    expect(items.filter(({ live }: { live: boolean }) => live)).toHaveLength(11)
    for (const socket of stuck) socket.destroy()
  },
  patience(30_000),
)

test('a session that is stored has each answer once on the control socket too, also when it returns', async () => {
  await using app = await startApp({}, { memory: true })
  const admin = await app.admin()
  await admin.do('admin', 'principal/add', { name: 'dash', role: 'viewer', password: 'dash-password' })
  const stored = { clientId: 'kept', username: 'dash', clean: false, protocolVersion: 4 } as const
  const first = await app.admin(stored)
  for (let i = 0; i < 3; i++) await first.do('dash', 'node/list')
  await first.settle()
  expect(first.waiting).toEqual([])
  await first.end()
  const back = await app.admin(stored)
  // What was queued comes before anything else.
  await back.do('dash', 'node/list')
  expect(back.waiting).toEqual([])
})

test('a client of MQTT 5 is told the subscription that an answer on the control socket is for', async () => {
  await using app = await startApp({}, { memory: true })
  const client = await app.admin({ protocolVersion: 5 })
  const identifiers: unknown[] = []
  client.mqtt.on('message', (_topic, _payload, { properties }) =>
    identifiers.push(properties?.subscriptionIdentifier),
  )
  await client.mqtt.subscribeAsync('limb/principal/admin/response/#', {
    qos: 1,
    properties: { subscriptionIdentifier: 7 },
  })
  await client.publish('limb/principal/admin/request/node/list', { limit: 1 })
  await client.next('limb/principal/admin/response/node/list')
  expect(identifiers).toEqual([7])
})
