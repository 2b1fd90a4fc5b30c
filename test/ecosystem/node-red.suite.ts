import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startApp } from '../support/app.ts'
import { Command } from '../support/command.ts'
import { agent } from '../support/worker.ts'

/** Node-RED as a limb: it subscribes `pairing` and `invoke` once, when it connects, before anybody has approved it. */

const FOLDER = process.env.LIMB_ECOSYSTEM_FOLDER ?? ''
const KEY = 'a-key-that-only-node-red-has'
const START_MS = 180_000

const REGISTRATION = {
  displayName: 'Node-RED',
  platform: 'node-red',
  capabilities: [{ cap: 'lamp', commands: ['lamp.set'], authLevel: 'free' }],
}

function flow(port: number): object[] {
  const on = (leaf: string) => `limb/node/red1/${leaf}`
  const mqtt = { z: 'tab', broker: 'broker', qos: '1' }
  const script = (id: string, func: string, to: string) => ({
    id,
    z: 'tab',
    type: 'function',
    func,
    outputs: 1,
    initialize: '',
    finalize: '',
    libs: [],
    wires: [[to]],
  })
  return [
    { id: 'tab', type: 'tab', label: 'limb' },
    {
      id: 'broker',
      type: 'mqtt-broker',
      broker: '127.0.0.1',
      port: String(port),
      clientid: 'red1',
      autoConnect: true,
      usetls: false,
      protocolVersion: '4',
      keepalive: '30',
      cleansession: true,
    },
    {
      ...mqtt,
      id: 'pairing',
      type: 'mqtt in',
      topic: on('pairing'),
      datatype: 'json',
      wires: [['approved']],
    },
    { ...mqtt, id: 'invoke', type: 'mqtt in', topic: on('invoke'), datatype: 'json', wires: [['lamp']] },
    {
      id: 'start',
      z: 'tab',
      type: 'inject',
      props: [{ p: 'payload' }],
      payload: JSON.stringify(REGISTRATION),
      payloadType: 'json',
      once: true,
      onceDelay: 1,
      repeat: '5',
      crontab: '',
      topic: '',
      wires: [['register']],
    },
    script(
      'approved',
      "if (msg.payload.status !== 'approved') return null\nreturn {payload: {}}",
      'heartbeat',
    ),
    script(
      'lamp',
      'const {invocationId, params} = msg.payload\nreturn {payload: {invocationId, success: true, data: {on: params.on}}}',
      'result',
    ),
    ...['register', 'heartbeat', 'result'].map((leaf) => ({
      ...mqtt,
      id: leaf,
      type: 'mqtt out',
      topic: on(leaf),
      retain: 'false',
      wires: [],
    })),
  ]
}

test('a flow of Node-RED is paired, comes online and is invoked without connecting anew', async () => {
  await using app = await startApp({}, { memory: true })
  const admin = await app.admin()
  await admin.subscribe(['limb/bridge/pairing/+', 'limb/node/red1/status'])
  const user = join(app.folder, 'node-red')
  mkdirSync(user)
  writeFileSync(join(user, 'flows.json'), JSON.stringify(flow(app.bridge.mqtt.port)))
  writeFileSync(join(user, 'flows_cred.json'), JSON.stringify({ broker: { user: 'red1', password: KEY } }))
  const settings = { uiHost: '127.0.0.1', uiPort: 0, flowFile: 'flows.json', credentialSecret: false }
  const closed = { httpAdminRoot: false, httpNodeRoot: false, telemetry: { enabled: false } }
  writeFileSync(join(user, 'settings.js'), `module.exports = ${JSON.stringify({ ...settings, ...closed })}\n`)
  const red = join(FOLDER, 'node_modules/node-red/red.js')
  await using nodeRed = new Command(process.execPath, [red, '--userDir', user])
  await nodeRed.line(/Connected to broker/, START_MS)

  const { json } = await admin.next(({ topic, text }) => topic.includes('/pairing/') && text !== '', START_MS)
  expect(json).toMatchObject({ nodeId: 'red1', displayName: 'Node-RED', adds: ['lamp.set'] })
  await admin.do('admin', 'pairing/approve', { requestId: json.requestId, revision: json.revision })
  await admin.next(({ topic, text }) => topic.endsWith('/red1/status') && text === 'online', START_MS)
  const ann = await agent(app, 'ann')
  const answer = await ann.do('ann', 'invoke', { nodeId: 'red1', command: 'lamp.set', params: { on: true } })
  expect(answer.data).toEqual({ on: true })
})
