import { shownDescription } from '../bridge/live/description.ts'
import { presenceRuleOf } from '../bridge/presence/availability.ts'
import { type ApprovedCommand, approvedCommands, mergedDescription } from '../domain/descriptions.ts'
import { shownName } from '../domain/pairing.ts'
import type { NodeRecord } from '../domain/records.ts'
import type { PropertyDescription } from '../protocol/descriptions.ts'
import { LIMITS } from '../protocol/limits.ts'
import { STATUSES } from '../protocol/names.ts'
import { isMetricName } from '../protocol/schemas.ts'
import type { Topics } from '../protocol/topics.ts'
import type { Component, Thing } from './components.ts'
import { compoundOf } from './compound.ts'
import { type DeviceIds, idOfMetric, readable } from './ids.ts'
import { jinjaText } from './templates.ts'
import { measuredMetric } from './units.ts'
import { commandComponent, propertyComponent } from './values.ts'

/** Discovery messages in the form of Home Assistant's MQTT device discovery (2024.11 and later). */

/** Says where a discovery message goes: the embedded broker, or another one through an uplink. */
export interface Place {
  readonly topics: Topics
  readonly ids: DeviceIds
  /** The principal whose requests are taken there; undefined: nobody's are, so that there is nothing to press. */
  readonly principal: string | undefined
  readonly pairingSeconds: number
  readonly version: string
  readonly presence: {
    /** The seconds after which `state` is told anew while heartbeats come; 0: never for that. */
    readonly stateRefreshSeconds: number
  }
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
const PROPERTY = 'property_'

/** Returns whether a limb may have this component today and not tomorrow. */
export function comesAndGoes(component: string): boolean {
  return [METRIC, COMMAND, PROPERTY].some((start) => component.startsWith(start))
}

/** The commands of one limb; a device with more belongs to another kind of program. */
const MAX_COMMANDS = 64
/** A measurement that has not come for so long is not known any more, unless the limb sleeps. */
const STALE_SECONDS = 86_400
/** A metric outlives its limb by this factor; both would otherwise race. */
const STALE_TIMES = 3

const SUPPORT_URL = 'https://www.home-assistant.io/integrations/mqtt/'

/** `timeoutSeconds` is how long the limb may be silent before it is offline; undefined: that is not known. */
export function limbDiscovery(
  place: Place,
  record: NodeRecord,
  metrics: Iterable<string>,
  timeoutSeconds?: number,
): Discovery {
  const { topics, ids } = place
  const { nodeId, firmware, platform } = record
  const id = ids.limb(nodeId)
  const { model, manufacturer, area, configurationUrl } = shownDescription(record)
  return {
    device: {
      identifiers: [id],
      name: shownName(record),
      model: model ?? platform,
      ...(manufacturer === undefined ? {} : { manufacturer }),
      serial_number: nodeId,
      ...(firmware === null ? {} : { sw_version: firmware }),
      ...(area === undefined ? {} : { suggested_area: area }),
      ...(configurationUrl === undefined ? {} : { configuration_url: configurationUrl }),
      // What stands behind another limb's session does so in Home Assistant too.
      via_device: record.adapter?.via === undefined ? ids.bridge : ids.limb(record.adapter.via),
    },
    origin: origin(place),
    availability: [
      { topic: topics.bridgeStatus },
      {
        topic: topics.node(nodeId, 'status'),
        value_template: "{{ 'offline' if value == 'offline' else 'online' }}",
      },
    ],
    availability_mode: 'all',
    qos: 1,
    components: {
      ...presenceComponents(place, nodeId, id),
      ...metricSensors(topics.node(nodeId, 'state'), id, metrics, staleAfter(place, record, timeoutSeconds)),
      ...described(thingOf(place, record)),
    },
  }
}

function thingOf({ topics, ids, principal }: Place, record: NodeRecord): Thing {
  const { nodeId } = record
  const { properties } = shownDescription(record)
  return {
    id: ids.limb(nodeId),
    nodeId,
    topicPrefix: topics.dataPrefix(nodeId).slice(0, -'data/'.length),
    requestTopic: principal === undefined ? undefined : topics.request(principal, 'invoke'),
    properties,
    commands: new Map(commandsWithoutLease(record).map((command) => [command.name, command])),
    awake: sleeps(record) ? awakeAvailability(topics, nodeId) : {},
    staleSeconds: sleeps(record) ? undefined : STALE_SECONDS,
  }
}

function sleeps(record: NodeRecord): boolean {
  return presenceRuleOf(record).mode === 'sleepy'
}

/** A limb between two visits can be watched, not pressed. */
function awakeAvailability(topics: Topics, nodeId: string): Readonly<Record<string, unknown>> {
  return {
    availability: [
      { topic: topics.bridgeStatus },
      {
        topic: topics.node(nodeId, 'status'),
        value_template: "{{ 'offline' if value in ['offline', 'asleep'] else 'online' }}",
      },
    ],
    availability_mode: 'all',
  }
}

/** Makes the components of the limb's description: whole entities first, then what is left of its properties and commands. */
function described(thing: Thing): Record<string, Component> {
  const components: Record<string, Component> = {}
  const taken = new Set<PropertyDescription>()
  const used = new Set<string>()
  for (const property of thing.properties) {
    if (taken.has(property)) continue
    const compound = compoundOf(thing, property)
    if (compound === undefined) continue
    components[PROPERTY + property.name] = compound.component
    for (const each of compound.properties) taken.add(each)
    for (const command of compound.commands) used.add(command)
  }
  for (const property of thing.properties) {
    const component = taken.has(property) ? undefined : propertyComponent(thing, property)
    if (component === undefined) continue
    components[PROPERTY + property.name] = component
    if (component.command_topic !== undefined && property.set) used.add(property.set.command)
  }
  let commands = 0
  for (const [name, command] of thing.commands) {
    const component = used.has(name) ? undefined : commandComponent(thing, command)
    if (component !== undefined && ++commands <= MAX_COMMANDS) components[COMMAND + name] = component
  }
  return components
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
function metricSensors(
  stateTopic: string,
  id: string,
  metrics: Iterable<string>,
  stale: object,
): Record<string, Component> {
  const names = [...metrics].filter((name) => isMetricName(name)).sort()
  const measured = names.slice(0, LIMITS.metrics).map((name) => ({ name, ...measuredMetric(name) }))
  const quantities = Map.groupBy(measured, ({ quantity }) => quantity)
  return Object.fromEntries(
    measured.map(({ name, quantity, measure }): [string, Component] => [
      METRIC + idOfMetric(name),
      {
        platform: 'sensor',
        // `temperature_celsius` is called Temperature, unless the limb sends it in another unit too.
        name: readable(quantities.get(quantity)?.length === 1 ? quantity : name),
        unique_id: `${id}_metric_${idOfMetric(name)}`,
        state_topic: stateTopic,
        value_template: `{{ (value_json.metrics | default({}))[${jinjaText(name)}] | default('None') }}`,
        ...measure,
        ...stale,
      },
    ]),
  )
}

/** Metrics come with heartbeats, and `state` is told at their pace or at the bridge's, whichever is slower. */
function staleAfter({ presence }: Place, record: NodeRecord, timeoutSeconds: number | undefined): object {
  const { stateRefreshSeconds } = presence
  const { mode } = presenceRuleOf(record)
  if (mode !== 'heartbeat' || timeoutSeconds === undefined || stateRefreshSeconds === 0) return {}
  return { expire_after: Math.ceil(STALE_TIMES * Math.max(stateRefreshSeconds, timeoutSeconds)) }
}

/** Commands that need no lease, wherever they are offered: free ones run at once, gated ones ask a person. */
function commandsWithoutLease(record: NodeRecord): readonly ApprovedCommand[] {
  const leased = new Set<string>()
  for (const { commands, authLevel } of record.capabilities)
    if (authLevel !== 'free' && authLevel !== 'gated') for (const command of commands) leased.add(command)
  const merged = mergedDescription(record.ownDescription, record.operatorDescription)
  const all = new Map(approvedCommands(record.capabilities, merged).map((each) => [each.name, each]))
  return [...all.values()].filter(({ name }) => !leased.has(name))
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
  if (principal === undefined) return {}
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
  return { name: ORIGIN, sw_version: version, support_url: SUPPORT_URL }
}
