import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import { startBridge } from '../src/app.ts'
import { resolveConfig } from '../src/host/config/config.ts'
import { createLog } from '../src/host/log/log.ts'
import { systemClock } from '../src/kernel/clock.ts'
import { topicsOf } from '../src/protocol/topics.ts'
import { BULB, FIRMWARE_SETTINGS, GATEWAY, PLUG, releaseFirmware } from './demo/firmware.ts'
import { release, ZOO } from './demo/zoo.ts'

/**
 * `npm run demo`: a bridge in a folder of its own with twenty devices, all but two approved, and an agent that wants to open the door every minute. Nothing of it stays when it ends.
 */

const PASSWORD = 'demo-password'
const ASK_MS = 60_000

const folder = mkdtempSync(join(tmpdir(), 'limb-demo-'))
const values = {
  mqtt: { port: Number(process.env.LIMB_MQTT_PORT ?? 1883), grants: FIRMWARE_SETTINGS.grants },
  adapters: FIRMWARE_SETTINGS.adapters,
  http: { port: Number(process.env.LIMB_HTTP_PORT ?? 8083) },
  control: { socket: join(folder, 'control.sock') },
  store: { path: join(folder, 'limb.sqlite') },
  backup: { folder: join(folder, 'backups') },
}
const { config } = resolveConfig({ name: 'the demonstration', values, lineOf: () => undefined }, {})
const log = createLog({ ...config.log, level: 'warn', format: 'pretty' })
const bridge = await startBridge({
  config,
  log,
  clock: systemClock,
  version: 'demo',
  adminPassword: PASSWORD,
})
const url = `mqtt://127.0.0.1:${bridge.mqtt.port}`
const zoo = [...ZOO.map((animal) => release(animal, url, folder)), ...releaseFirmware(url)]

const topics = topicsOf(config.mqtt.topicRoot)
const ask = (name: string, verb: string, args: object) =>
  client.publish(topics.request(name, verb), JSON.stringify(args), { qos: 1 })
const client = await connectAsync(url, { username: 'admin', password: PASSWORD })
const waiting = [...ZOO.slice(0, -2).map(({ nodeId }) => nodeId), PLUG, GATEWAY, BULB]
client.on('message', (_topic, payload) => {
  const request = payload.length === 0 ? undefined : JSON.parse(payload.toString())
  if (waiting.includes(request?.nodeId)) ask('admin', 'pairing/approve', { requestId: request.requestId })
})
await client.subscribeAsync(topics.pairingRequest('+'), { qos: 1 })
await addAgent()
const agent = await connectAsync(url, { username: 'agent', password: PASSWORD })
const openDoor = () =>
  agent.publish(
    topics.request('agent', 'invoke'),
    JSON.stringify({ nodeId: 'door1', command: 'lock.open', params: { seconds: 15 } }),
    { qos: 1 },
  )
setTimeout(openDoor, 5000)
setInterval(openDoor, ASK_MS)

process.stdout.write(`
  The console: http://127.0.0.1:${bridge.http?.port}/   name admin, password ${PASSWORD}
  Two devices ask to be paired, and an agent asks to open the front door.
  Ctrl-C ends it; nothing stays.
`)

/** Resolves when the bridge has answered. */
async function addAgent(): Promise<void> {
  const response = topics.response('admin', 'principal/add')
  await client.subscribeAsync(response, { qos: 1 })
  const answered = new Promise<void>((resolve) =>
    client.on('message', (topic) => topic === response && resolve()),
  )
  ask('admin', 'principal/add', { name: 'agent', role: 'agent', password: PASSWORD })
  await answered
}

async function end(): Promise<void> {
  agent.end(true)
  client.end(true)
  await Promise.all(zoo.map((animal) => animal.stop()))
  await bridge.stop()
  rmSync(folder, { recursive: true, force: true })
  process.exit(0)
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void end())
