import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { packet, publishPacket, text } from '../broker/wire.ts'
import { type BridgeProcess, launchBridge, startBridge } from '../support/bridge-process.ts'
import { connect } from '../support/client.ts'
import { rssBytes } from '../support/process-usage.ts'

/** The bridge as a process, attacked from outside: what kills or fills a bare broker. */

const MIB = 1024 * 1024
let folder: string
let bridge: BridgeProcess | undefined
const sockets: Socket[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'limb-attack-'))
  bridge = undefined
})
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await bridge?.kill()
  rmSync(folder, { recursive: true, force: true })
})

function dialBridge({ mqtt }: BridgeProcess): Socket {
  const socket = connectTcp(mqtt.port, mqtt.host)
  socket.on('error', () => {})
  sockets.push(socket)
  return socket
}

const closed = (socket: Socket) =>
  new Promise<void>((resolve) => (socket.destroyed ? resolve() : socket.once('close', () => resolve())))

async function isHealthy({ control }: BridgeProcess): Promise<boolean> {
  const admin = await connect({ socket: control })
  const { ok } = await admin.ask('admin', 'node/list')
  await admin.end()
  return ok
}

describe('before sign-in', () => {
  it('large packets cost no memory: connections end at the header', async () => {
    bridge = await startBridge({ folder })
    const before = rssBytes(bridge.pid)
    const header = (first: number) => Buffer.from([first, 0xff, 0xff, 0xff, 0x7f])
    const body = Buffer.alloc(8 * MIB)
    const attackers = Array.from({ length: 16 }, (_, i) => {
      const socket = dialBridge(bridge as BridgeProcess)
      socket.write(header(i % 2 === 0 ? 0x30 : 0x10))
      socket.write(body)
      return socket
    })
    await Promise.all(attackers.map((socket) => closed(socket.resume())))
    expect(rssBytes(bridge.pid) - before).toBeLessThan(48 * MIB)
    expect(await isHealthy(bridge)).toBe(true)
  })

  it('a CONNECT that trickles in is ended in time', async () => {
    bridge = await startBridge({ folder, settings: { mqtt: { port: 0, connectSeconds: 1 } } })
    const socket = dialBridge(bridge)
    socket.write(packet(0x10, text('MQTT')).subarray(0, 3))
    await closed(socket.resume())
    expect(await isHealthy(bridge)).toBe(true)
  })
})

describe('a subscriber that is stuck', () => {
  it('under a flood of small messages, and then reset, ends neither the process nor anybody else', async () => {
    bridge = await startBridge({ folder })
    const admin = await connect({ socket: bridge.control })
    const { apiKey } = await admin.do('admin', 'node/provision', { nodeId: 'cam1' })
    const password = readFileSync(join(folder, 'admin-password'), 'utf8').trim()
    const stuck = await connect(bridge.mqtt, { username: 'admin', password })
    await stuck.subscribe('limb/node/+/data/#')
    const stream = stuck.mqtt.stream as unknown as Socket
    stream.pause()
    const limb = await connect(bridge.mqtt, { username: 'cam1', password: apiKey })
    const raw = limb.mqtt.stream as unknown as Socket
    const topic = 'limb/node/cam1/data/x'
    // Fills the kernel's buffers and the bridge's share for this reader, then goes on.
    for (let i = 0; i < 60; i++) raw.write(publishPacket(topic, Buffer.alloc(100_000)))
    for (let i = 0; i < 5000; i++) raw.write(publishPacket(topic, 'small'))
    await limb.settle()
    stream.resetAndDestroy()
    stuck.mqtt.end(true)
    await limb.publish(topic, 'after')
    await limb.settle()
    expect(bridge.child.exitCode).toBeNull()
    expect((await admin.ask('admin', 'node/get', { nodeId: 'cam1' })).ok).toBe(true)
    for (const client of [limb, admin]) client.mqtt.end(true)
  })
})

describe('an open door', () => {
  it.each([
    [{ LIMB_MQTT_HOST: '0.0.0.0' }, 'LIMB_MQTT_HOST: mqtt.host: found "0.0.0.0"'],
    [{ LIMB_MQTT_HOST: '::' }, 'LIMB_MQTT_HOST: mqtt.host: found "::"'],
    [{ LIMB_HTTP_HOST: '0.0.0.0' }, 'LIMB_HTTP_HOST: http.host: found "0.0.0.0"'],
  ])('%j without TLS is not opened by accident, and the last line says what to do', async (env, message) => {
    const started = launchBridge({ folder, env })
    const { code } = await started.ended
    expect(code).toBe(78)
    const words = await started.ready.then(
      () => '',
      (error: Error) => error.message,
    )
    expect(words).toContain(message)
    expect(words).toContain('set mqtt.allowPlaintext: true if that is meant')
  })

  it('is opened when the configuration says so in words', async () => {
    const mqtt = { port: 0, allowPlaintext: true }
    bridge = await startBridge({ folder, settings: { mqtt }, env: { LIMB_MQTT_HOST: '0.0.0.0' } })
    expect(await isHealthy(bridge)).toBe(true)
  })
})
