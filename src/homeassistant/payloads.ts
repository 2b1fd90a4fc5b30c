import { shownName } from '../domain/pairing.ts'
import type { NodeRecord } from '../domain/records.ts'
import { LIMITS } from '../protocol/limits.ts'
import { STATUSES } from '../protocol/names.ts'
import { isMetricName } from '../protocol/schemas.ts'
import type { Topics } from '../protocol/topics.ts'
import { type DeviceIds, idOfMetric, readable } from './ids.ts'
import { measureOf } from './units.ts'

/** Discovery messages in the form of Home Assistant's MQTT device discovery (2024.11 and later). */

/** Says where a discovery message goes: the embedded broker, or another one through an uplink. */
export interface Place {
  readonly topics: Topics
  readonly ids: DeviceIds
  /** The principal whose requests are taken there; null: nobody's are, so that there is nothing to press. */
  readonly principal: string | null
  readonly pairingSeconds: number
  readonly version: string
}

export interface Component {
  readonly platform: 'binary_sensor' | 'sensor' | 'button' | 'switch'
  readonly [option: string]: unknown
}

export interface Discovery {
  readonly device: object
  readonly origin: object
  readonly components: Readonly<Record<string, Component>>
  readonly [option: string]: unknown
}

export const ORIGIN = 'Limb Bridge'

const METRIC = 'metric_'
const COMMAND = 'command_'

/** Returns whether a limb may have this component today and not tomorrow. */
export function comesAndGoes(component: string): boolean {
  return component.startsWith(METRIC) || component.startsWith(COMMAND)
}

/** Returns the platform of a component that comes and goes. */
export function platformOf(component: string): Component['platform'] {
  return component.startsWith(METRIC) ? 'sensor' : 'button'
}

/** The buttons of one limb; a device with more belongs to another kind of program. */
const MAX_BUTTONS = 64

export function limbDiscovery(place: Place, record: NodeRecord, metrics: Iterable<string>): Discovery {
  const { topics, ids } = place
  const { nodeId, firmware, platform } = record
  const id = ids.limb(nodeId)
  const status = topics.node(nodeId, 'status')
  return {
    device: {
      identifiers: [id],
      name: shownName(record),
      model: platform,
      serial_number: nodeId,
      ...(firmware === null ? {} : { sw_version: firmware }),
      via_device: ids.bridge,
    },
    origin: origin(place),
    availability: [
      { topic: topics.bridgeStatus },
      { topic: status, value_template: "{{ 'offline' if value == 'offline' else 'online' }}" },
    ],
    availability_mode: 'all',
    qos: 1,
    components: {
      ...presenceComponents(place, nodeId, id),
      ...metricSensors(topics.node(nodeId, 'state'), id, metrics),
      ...buttons(place, record, id),
    },
  }
}

/** These are worth most while the limb is offline: they hang on the bridge alone. */
function presenceComponents(place: Place, nodeId: string, id: string): Record<string, Component> {
  const { topics } = place
  const availability = [{ topic: topics.bridgeStatus }]
  const status = topics.node(nodeId, 'status')
  return {
    connectivity: {
      platform: 'binary_sensor',
      name: 'Connectivity',
      unique_id: `${id}_connectivity`,
      device_class: 'connectivity',
      entity_category: 'diagnostic',
      state_topic: status,
      value_template: "{{ 'OFF' if value == 'offline' else 'ON' }}",
      availability,
    },
    status: {
      platform: 'sensor',
      name: 'Status',
      unique_id: `${id}_status`,
      device_class: 'enum',
      options: [...STATUSES],
      entity_category: 'diagnostic',
      state_topic: status,
      availability,
    },
    last_seen: {
      platform: 'sensor',
      name: 'Last seen',
      unique_id: `${id}_last_seen`,
      device_class: 'timestamp',
      entity_category: 'diagnostic',
      state_topic: topics.node(nodeId, 'state'),
      value_template: '{{ value_json.lastHeartbeatAt }}',
      availability,
    },
  }
}

/** A metric that the limb does not send any more is unknown, not an error: `None` is Home Assistant's word for it. */
function metricSensors(stateTopic: string, id: string, metrics: Iterable<string>): Record<string, Component> {
  const names = [...metrics].filter((name) => isMetricName(name)).sort()
  return Object.fromEntries(
    names.slice(0, LIMITS.metrics).map((name): [string, Component] => [
      METRIC + idOfMetric(name),
      {
        platform: 'sensor',
        name: readable(name),
        unique_id: `${id}_metric_${idOfMetric(name)}`,
        state_topic: stateTopic,
        value_template: `{{ (value_json.metrics | default({}))[${jinjaText(name)}] | default('None') }}`,
        ...measureOf(name),
      },
    ]),
  )
}

/** Writes a text of Jinja. */
function jinjaText(text: string): string {
  return `'${text.replaceAll(/[\\'{}%#]/g, (char) => `\\x${char.charCodeAt(0).toString(16)}`)}'`
}

function buttons(place: Place, record: NodeRecord, id: string): Record<string, Component> {
  const { topics, principal } = place
  if (principal === null) return {}
  return Object.fromEntries(
    freeCommands(record).map((command): [string, Component] => [
      COMMAND + command,
      {
        platform: 'button',
        name: readable(command),
        unique_id: `${id}_command_${command}`,
        command_topic: topics.request(principal, 'invoke'),
        payload_press: JSON.stringify({ nodeId: record.nodeId, command, params: {} }),
        qos: 1,
      },
    ]),
  )
}

/** Commands that need no lease and no approval, wherever they are offered. */
function freeCommands({ capabilities }: NodeRecord): readonly string[] {
  const free = new Map<string, boolean>()
  for (const { commands, authLevel } of capabilities) {
    for (const command of commands) {
      free.set(command, (free.get(command) ?? true) && authLevel === 'free')
    }
  }
  return [...free]
    .filter(([, isFree]) => isFree)
    .map(([command]) => command)
    .slice(0, MAX_BUTTONS)
}

export function bridgeDiscovery(place: Place): Discovery {
  const { topics, ids, version } = place
  const id = ids.bridge
  const availability = [{ topic: topics.bridgeStatus }]
  const count = (key: string, name: string, value: string): [string, Component] => [
    key,
    {
      platform: 'sensor',
      name,
      unique_id: `${id}_${key}`,
      state_topic: topics.bridgeInfo,
      value_template: `{{ value_json.nodes.${value} }}`,
      state_class: 'measurement',
      availability,
    },
  ]
  return {
    device: {
      identifiers: [id],
      name: `Limb Bridge ${topics.root}`,
      model: 'Limb Bridge',
      sw_version: version,
    },
    origin: origin(place),
    qos: 1,
    components: {
      connectivity: {
        platform: 'binary_sensor',
        name: 'Connectivity',
        unique_id: `${id}_connectivity`,
        device_class: 'connectivity',
        entity_category: 'diagnostic',
        state_topic: topics.bridgeStatus,
        payload_on: 'online',
        payload_off: 'offline',
      },
      ...Object.fromEntries([
        count('pending', 'Pending requests', 'pending'),
        count('approved', 'Limbs', 'approved'),
        count('online', 'Limbs online', 'online'),
      ]),
      ...pairingSwitch(place, availability),
    },
  }
}

function pairingSwitch(place: Place, availability: readonly object[]): Record<string, Component> {
  const { topics, ids, principal, pairingSeconds } = place
  if (principal === null) return {}
  return {
    pairing_window: {
      platform: 'switch',
      name: 'Pairing window',
      unique_id: `${ids.bridge}_pairing_window`,
      entity_category: 'config',
      state_topic: topics.bridgeInfo,
      value_template: "{{ 'ON' if value_json.pairingWindow is defined else 'OFF' }}",
      state_on: 'ON',
      state_off: 'OFF',
      command_topic: topics.request(principal, 'pairing/permit'),
      payload_on: JSON.stringify({ seconds: pairingSeconds }),
      payload_off: JSON.stringify({ seconds: 0 }),
      qos: 1,
      availability,
    },
  }
}

function origin({ version }: Place): object {
  return { name: ORIGIN, sw_version: version }
}
