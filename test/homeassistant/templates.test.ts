import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { DeviceIds, readable } from '../../src/homeassistant/ids.ts'
import { bridgeDiscovery, limbDiscovery, type Place } from '../../src/homeassistant/payloads.ts'
import { measuredMetric } from '../../src/homeassistant/units.ts'
import { LIMITS } from '../../src/protocol/limits.ts'
import { topicsOf } from '../../src/protocol/topics.ts'
import type { Loose } from '../support/client.ts'
import { needs } from '../support/needs.ts'
import { DISCOVERY_TOPIC, discoverySchema } from './discovery-schema.ts'
import { nodeRecord } from './record.ts'

const topics = topicsOf('limb')
const place: Place = {
  topics,
  ids: new DeviceIds('homeassistant', topics),
  principal: 'homeassistant',
  pairingSeconds: 300,
  version: '1.0.0',
  presence: { stateRefreshSeconds: 60 },
}

const record = nodeRecord

/** What Jinja makes of a template, as Home Assistant would with the payload of a message. */
function render(template: string, payload: string): string {
  const script = `
import json, sys, jinja2
template, payload = json.load(sys.stdin)
try: value_json = json.loads(payload)
except ValueError: value_json = None
print(jinja2.Environment().from_string(template).render(value=payload, value_json=value_json), end='')`
  return execFileSync('/usr/bin/python3', ['-c', script], {
    input: JSON.stringify([template, payload]),
  }).toString()
}

describe('the templates, rendered by Jinja itself', () => {
  needs('jinja')

  const { availability, components } = limbDiscovery(place, record(), ['load.1m']) as Loose
  const bridge = bridgeDiscovery(place).components as Loose

  it.each([
    ['online', 'online', 'ON'],
    ['busy', 'online', 'ON'],
    ['degraded', 'online', 'ON'],
    ['offline', 'offline', 'OFF'],
  ])('a limb that is %s is %s, and its connection %s', (status, available, connected) => {
    expect(render(availability[1].value_template, status)).toBe(available)
    expect(render(components.connectivity.value_template, status)).toBe(connected)
  })

  it.each([
    ['{"metrics": {"load.1m": 0.25}}', '0.25'],
    ['{"metrics": {"load.1m": 0}}', '0'],
    ['{"metrics": {"other": 1}}', 'None'],
    ['{"nodeId": "cam1"}', 'None'],
  ])('a metric in the state %s reads %s', (state, value) => {
    expect(render(components['metric_load.1m'].value_template, state)).toBe(value)
  })

  it('the last heartbeat is a time, or unknown', () => {
    const { value_template } = components.last_seen
    expect(render(value_template, '{"lastHeartbeatAt": "2026-01-01T00:00:00.000Z"}')).toBe(
      '2026-01-01T00:00:00.000Z',
    )
    expect(render(value_template, '{"lastHeartbeatAt": null}')).toBe('None')
  })

  it('the switch follows the pairing window, and the counts follow info', () => {
    const info = { nodes: { approved: 3, online: 2, pending: 1 } }
    expect(render(bridge.pairing_window.value_template, JSON.stringify(info))).toBe('OFF')
    expect(render(bridge.pairing_window.value_template, JSON.stringify({ ...info, pairingWindow: {} }))).toBe(
      'ON',
    )
    const counts = ['pending', 'approved', 'online'].map((key) =>
      render(bridge[key].value_template, JSON.stringify(info)),
    )
    expect(counts).toEqual(['1', '3', '2'])
  })
})

describe('a metric whose name is a piece of a template', () => {
  needs('jinja')

  it.each(["x'] }}{{ 7*7", '{% raw %}', '"', '\\', "\\'", '{# #}', 'Außen links', '}}'])(
    '%s is a name and no more',
    (name) => {
      const { components } = limbDiscovery(place, record(), [name]) as Loose
      const [sensor] = Object.entries(components).filter(([id]) => id.startsWith('metric_'))
      const template = (sensor as Loose)[1].value_template
      expect(render(template, JSON.stringify({ metrics: { [name]: 21 } }))).toBe('21')
      expect(render(template, '{}')).toBe('None')
    },
  )
})

describe('discovery messages', () => {
  it('follow the documentation with every list full', () => {
    const capabilities = Array.from({ length: LIMITS.capabilities }, (_, i) => ({
      cap: `cap${i}`,
      commands: Array.from({ length: LIMITS.commandsPerCapability }, (_, j) => `cap${i}.run${j}`),
      authLevel: 'free' as const,
    }))
    const metrics = Array.from({ length: 200 }, (_, i) => `metric${i}_celsius`)
    const message = limbDiscovery(place, record({ capabilities }), metrics)
    discoverySchema.parse(message)
    expect(Object.keys(message.components).length).toBe(3 + 64 + 64)
    expect(JSON.stringify(message).length).toBeLessThan(64 * 1024)
    discoverySchema.parse(bridgeDiscovery(place))
  })

  it('have a button only for commands that need no lease wherever they are offered', () => {
    const capabilities = [
      { cap: 'a', commands: ['go', 'stop'], authLevel: 'free' as const },
      { cap: 'b', commands: ['go'], authLevel: 'leased' as const },
      { cap: 'c', commands: ['open'], authLevel: 'gated' as const },
    ]
    const { components } = limbDiscovery(place, record({ capabilities }), [])
    expect(Object.keys(components).filter((id) => id.startsWith('command_'))).toEqual([
      'command_stop',
      'command_open',
    ])
  })

  it('have an id of letters and digits for a metric of any name, one for each', () => {
    const { components } = limbDiscovery(place, record(), [
      'ok',
      '28-0316a4',
      'Außen',
      'Aussen',
      'a b',
      'a_b',
      'a\0',
    ])
    const ids = Object.keys(components).filter((id) => id.startsWith('metric_'))
    expect(ids).toHaveLength(6)
    for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_.-]+$/)
    expect(ids).toEqual(
      expect.arrayContaining(['metric_ok', 'metric_28-0316a4', 'metric_Aussen', 'metric_a_b']),
    )
  })

  it('are under topics that Home Assistant reads, and no limb can take the place of the bridge', () => {
    const ids = new DeviceIds('homeassistant', topicsOf('a/b'))
    for (const device of [ids.bridge, ids.limb('bridge'), ids.limb('_')]) {
      expect(ids.topic(device).replace('homeassistant/', '')).toMatch(DISCOVERY_TOPIC)
      expect(ids.deviceOf(ids.topic(device))).toBe(device)
    }
    expect(ids.limb('bridge')).not.toBe(ids.bridge)
    expect(ids.deviceOf('homeassistant/device/a_c_x/config')).toBeUndefined()
    expect(ids.deviceOf('homeassistant/device/a_b_x/y/config')).toBeUndefined()
  })

  it('read a unit from the end of a name', () => {
    const measured = (name: string) => measuredMetric(name).measure
    expect(measured('motor_temperature_celsius')).toMatchObject({ unit_of_measurement: '°C' })
    expect(measured('battery_percent')).toMatchObject({ device_class: 'battery', unit_of_measurement: '%' })
    expect(measured('sent_bytes_total')).toMatchObject({
      state_class: 'total_increasing',
      unit_of_measurement: 'B',
    })
    expect(measured('percent')).toEqual({ state_class: 'measurement' })
    expect(measured('constructor')).toEqual({ state_class: 'measurement' })
    expect(readable('camera.snap')).toBe('Camera snap')
  })
})
