import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startApp } from '../support/app.ts'
import { Command } from '../support/command.ts'

/**
 * Zigbee2MQTT on the bridge's broker in place of Mosquitto: its topics are granted to it, it speaks MQTT 5, and it ends at
 * once when a publish or a subscription is refused.
 */

const FOLDER = join(process.env.LIMB_ECOSYSTEM_FOLDER ?? '', 'node_modules/zigbee2mqtt')
const PASSWORD = 'a-password-of-zigbee2mqtt'
const START_MS = 60_000
const LAMP = '0x00124b0000000002'

const endpoint = (devId: number, inClusterList: number[]) => ({
  ...{ profId: 260, epId: 1, devId, inClusterList, outClusterList: [] },
  ...{ clusters: {}, binds: [], configuredReportings: [], meta: {} },
})
const joined = {
  epList: [1],
  interviewCompleted: true,
  interviewState: 'SUCCESSFUL',
  meta: { configured: 1 },
}
const DEVICES = [
  {
    ...{ id: 1, type: 'Coordinator', ieeeAddr: '0x00124b0000000001', nwkAddr: 0, manufId: 0 },
    ...{ ...joined, endpoints: { 1: endpoint(5, []) } },
  },
  {
    ...{ id: 2, type: 'Router', ieeeAddr: LAMP, nwkAddr: 4660, manufId: 4476 },
    ...{
      manufName: 'IKEA of Sweden',
      modelId: 'TRADFRI control outlet',
      powerSource: 'Mains (single phase)',
    },
    ...{ ...joined, endpoints: { 1: endpoint(266, [0, 3, 4, 5, 6]) } },
  },
]

function configuration(port: number): object {
  return {
    version: 5,
    mqtt: {
      ...{ base_topic: 'zigbee2mqtt', server: `mqtt://127.0.0.1:${port}`, version: 5 },
      ...{ user: 'z2m', password: PASSWORD, client_id: 'z2m' },
    },
    serial: { port: '/dev/null', adapter: 'ember' },
    frontend: { enabled: false },
    homeassistant: { enabled: false },
    advanced: { log_output: ['console'], pan_id: 6754, ext_pan_id: Array.from({ length: 8 }, () => 0xdd) },
    devices: { [LAMP]: { friendly_name: 'lamp' } },
  }
}

test('Zigbee2MQTT comes up, its devices obey and answer, and its will says when it is gone', async () => {
  const grants = [{ to: 'viewer' as const, publish: ['zigbee2mqtt/#'], subscribe: ['zigbee2mqtt/#'] }]
  await using app = await startApp({ mqtt: { port: 0, grants } }, { memory: true })
  const admin = await app.admin()
  await admin.do('admin', 'principal/add', { name: 'z2m', role: 'viewer', password: PASSWORD })
  await admin.do('admin', 'principal/add', { name: 'ann', role: 'viewer', password: PASSWORD })
  const ann = await app.principal('ann', PASSWORD)
  await ann.subscribe(['zigbee2mqtt/bridge/state', 'zigbee2mqtt/lamp'])

  const data = join(app.folder, 'z2m')
  mkdirSync(data)
  // JSON is YAML.
  writeFileSync(join(data, 'configuration.yaml'), JSON.stringify(configuration(app.bridge.mqtt.port)))
  writeFileSync(join(data, 'database.db'), DEVICES.map((device) => JSON.stringify(device)).join('\n'))
  const radio = join(import.meta.dirname, 'fake-zigbee-adapter.cjs')
  await using zigbee2Mqtt = new Command(process.execPath, ['--require', radio, join(FOLDER, 'cli.js')], {
    ZIGBEE2MQTT_DATA: data,
    ZIGBEE2MQTT_FOLDER: FOLDER,
    // It builds itself anew when it finds itself in a repository.
    GIT_DIR: '/dev/null',
  })
  await zigbee2Mqtt.line(/Zigbee2MQTT started!/, START_MS)
  const state = async () => (await ann.next('zigbee2mqtt/bridge/state', START_MS)).json.state
  expect(await state()).toBe('online')

  await ann.publish('zigbee2mqtt/lamp/set', { state: 'ON' })
  await zigbee2Mqtt.line(`the radio sends genOnOff on to ${LAMP}`, START_MS)
  await ann.next(({ topic, json }) => topic === 'zigbee2mqtt/lamp' && json.state === 'ON', START_MS)
  const later = await app.principal('ann', PASSWORD)
  await later.subscribe('zigbee2mqtt/bridge/devices')
  const { json: devices } = await later.next('zigbee2mqtt/bridge/devices', START_MS)
  expect(devices).toContainEqual(expect.objectContaining({ friendly_name: 'lamp', supported: true }))

  zigbee2Mqtt.child.kill('SIGKILL')
  expect(await state()).toBe('offline')
})
