import { randomBytes } from 'node:crypto'
import { connect, type IClientOptions, type MqttClient } from 'mqtt'

/**
 * Firmware that was never made for the bridge, for `npm run demo`: a plug with Tasmota, and Zigbee2MQTT with a bulb.
 * They speak as the firmware does, by topics of their own; the adapters make limbs of them.
 */

/** The settings that a bridge needs for them. */
export const FIRMWARE_SETTINGS = {
  adapters: { homeAssistant: true, tasmota: true },
  grants: [
    { to: 'limb', publish: ['%u/#', 'tele/%u/#', 'stat/%u/#'], subscribe: ['%u/#', 'cmnd/%u/#'] },
    { to: 'limb', subscribe: ['homeassistant/status'] },
  ],
} as const

export const PLUG = 'plug1'
export const GATEWAY = 'z2m'
const BULB_ADDRESS = '0x000b57fffec6a5b2'
export const BULB = `${GATEWAY}-zigbee2mqtt_${BULB_ADDRESS}`

const MEASURE_MS = 3000

interface Firmware {
  readonly nodeId: string
  readonly will: { readonly topic: string; readonly payload: string }
  readonly subscribes: readonly string[]
  /** Is published retained at each connect, in this order. */
  readonly announces: Readonly<Record<string, string | object>>
  /** Is published every few seconds. */
  readonly measures: () => Readonly<Record<string, object>>
  /** Returns what it publishes when a command comes. */
  readonly obeys: (topic: string, payload: string) => Readonly<Record<string, object>>
}

export interface LiveFirmware {
  stop(): Promise<void>
}

/** Lets both connect; they come back by themselves, and then announce themselves again. */
export function releaseFirmware(url: string): LiveFirmware[] {
  return [plug(), gateway()].map((firmware) => speak(firmware, url))
}

function speak(
  { nodeId, will, subscribes, announces, measures, obeys }: Firmware,
  url: string,
): LiveFirmware {
  const options: IClientOptions = {
    clientId: nodeId,
    username: nodeId,
    password: randomBytes(18).toString('base64url'),
    protocolVersion: 4,
    reconnectPeriod: 1000,
    resubscribe: false,
    will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: true },
  }
  const client = connect(url, options)
  client.on('error', () => {})
  client.on('connect', () => {
    client.subscribe([...subscribes], { qos: 1 }, () => say(client, announces, true))
  })
  client.on('message', (topic, payload) => say(client, obeys(topic, payload.toString())))
  const timer = setInterval(() => say(client, measures()), MEASURE_MS)
  return {
    async stop() {
      clearInterval(timer)
      await client.endAsync(true)
    },
  }
}

function say(client: MqttClient, messages: Readonly<Record<string, string | object>>, retain = false): void {
  if (!client.connected) return
  for (const [topic, message] of Object.entries(messages))
    client.publish(topic, typeof message === 'string' ? message : JSON.stringify(message), { qos: 1, retain })
}

/** Tasmota 14 on a plug that measures. */
function plug(): Firmware {
  const mac = 'A4CF12B3C4D5'
  let on = true
  let total = 12.345
  const power = () => ({ POWER: on ? 'ON' : 'OFF' })
  const energy = () => ({ Total: total, Power: on ? 42 : 0, Voltage: 231, Current: on ? 0.195 : 0 })
  return {
    nodeId: PLUG,
    will: { topic: `tele/${PLUG}/LWT`, payload: 'Offline' },
    subscribes: [`cmnd/${PLUG}/#`],
    announces: {
      [`tasmota/discovery/${mac}/config`]: {
        ...{ ip: '192.168.1.61', dn: 'Washing machine', fn: ['Socket'], hn: 'tasmota-b3c4d5', mac },
        ...{ md: 'NOUS A1T', ty: 0, if: 0, ofln: 'Offline', onln: 'Online', sw: '14.2.0', t: PLUG },
        ...{ state: ['OFF', 'ON', 'TOGGLE', 'HOLD'], ft: '%prefix%/%topic%/', tp: ['cmnd', 'stat', 'tele'] },
        ...{ rl: [1, 0], swc: [-1, -1], btn: [0, 0], so: { 30: 0, 73: 0 }, lk: 0, lt_st: 0, ver: 1 },
      },
      [`tasmota/discovery/${mac}/sensors`]: { sn: { ENERGY: energy(), TempUnit: 'C' }, ver: 1 },
      [`tele/${PLUG}/LWT`]: 'Online',
    },
    measures: () => {
      total = Math.round((total + (on ? 0.001 : 0)) * 1000) / 1000
      return {
        [`tele/${PLUG}/STATE`]: { ...power(), Wifi: { RSSI: 74, Signal: -63 } },
        [`tele/${PLUG}/SENSOR`]: { ENERGY: energy() },
      }
    },
    obeys: (topic, payload) => {
      if (!topic.toUpperCase().endsWith('/POWER1')) return { [`stat/${PLUG}/RESULT`]: { Command: 'Unknown' } }
      on = payload === 'TOGGLE' ? !on : payload === 'ON'
      return { [`stat/${PLUG}/RESULT`]: power() }
    },
  }
}

/** Zigbee2MQTT 2 with its base topic set to the name of its limb, and one bulb. */
function gateway(): Firmware {
  const bridge = 'zigbee2mqtt_bridge_0x00124b0024c1a2b3'
  const topic = `${GATEWAY}/${BULB_ADDRESS}`
  const state = { state: 'ON', brightness: 180, linkquality: 90 }
  const available = `${GATEWAY}/bridge/state`
  const device = {
    identifiers: [`zigbee2mqtt_${BULB_ADDRESS}`],
    via_device: bridge,
    manufacturer: 'IKEA',
    model: 'TRADFRI bulb',
    name: 'Stairs bulb',
  }
  const common = {
    state_topic: topic,
    device,
    availability: [{ topic: available, value_template: '{{ value_json.state }}' }],
  }
  return {
    nodeId: GATEWAY,
    will: { topic: available, payload: '{"state":"offline"}' },
    subscribes: [`${GATEWAY}/+/set`, `${GATEWAY}/bridge/request/#`, 'homeassistant/status'],
    announces: {
      [available]: { state: 'online' },
      'homeassistant/switch/0x00124b0024c1a2b3/permit_join/config': {
        name: 'Permit join',
        command_topic: `${GATEWAY}/bridge/request/permit_join`,
        state_topic: `${GATEWAY}/bridge/info`,
        value_template: '{{ value_json.permit_join | lower }}',
        payload_on: '{"time": 254}',
        payload_off: '{"time": 0}',
        state_on: 'true',
        state_off: 'false',
        object_id: 'permit_join',
        device: {
          identifiers: [bridge],
          manufacturer: 'Zigbee2MQTT',
          model: 'Bridge',
          name: 'Zigbee2MQTT Bridge',
        },
      },
      [`homeassistant/light/${BULB_ADDRESS}/light/config`]: {
        ...common,
        name: null,
        schema: 'json',
        command_topic: `${topic}/set`,
        brightness: true,
        brightness_scale: 254,
        object_id: 'bulb',
      },
      [`homeassistant/sensor/${BULB_ADDRESS}/linkquality/config`]: {
        ...common,
        name: 'Linkquality',
        value_template: '{{ value_json.linkquality }}',
        unit_of_measurement: 'lqi',
        state_class: 'measurement',
        object_id: 'linkquality',
      },
      [`${GATEWAY}/bridge/info`]: { permit_join: false },
    },
    measures: () => ({ [topic]: { ...state, linkquality: 85 + Math.round(Math.random() * 10) } }),
    obeys: (at, payload) => {
      if (at !== `${topic}/set`) return {}
      Object.assign(state, objectIn(payload))
      return { [topic]: state }
    },
  }
}

function objectIn(text: string): object {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}
