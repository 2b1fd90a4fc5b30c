import { describe, expect, test } from 'vitest'
import type { Identity } from '../../src/bridge/ports.ts'
import { type Grant, Rights } from '../../src/broker/rights.ts'
import { topicsOf } from '../../src/protocol/topics.ts'

const grants: Grant[] = [
  { to: 'homeassistant', publish: ['homeassistant/#'], subscribe: ['homeassistant/#'] },
  { to: 'agent', subscribe: ['shared/+/x'] },
  { to: 'limb', publish: ['zigbee/#'] },
  { to: 'candidate', subscribe: ['hello'] },
]
const rights = new Rights(topicsOf('limb'), grants)

const candidate: Identity = { kind: 'candidate', nodeId: 'cam', key: null }
const limb: Identity = { kind: 'limb', nodeId: 'cam' }
const principal = (name: string, role: 'viewer' | 'agent' | 'operator' | 'admin'): Identity => ({
  kind: 'principal',
  name,
  role,
  local: false,
})
const viewer = principal('ann', 'viewer')
const agent = principal('bob', 'agent')
const admin = principal('root', 'admin')
const hass = principal('homeassistant', 'viewer')

const publish: [string, Identity, string, 'core' | 'route' | 'denied'][] = [
  ['candidate', candidate, 'limb/node/cam/register', 'core'],
  ['candidate', candidate, 'limb/node/cam/heartbeat', 'denied'],
  ['candidate', candidate, 'limb/node/cam/result', 'denied'],
  ['candidate', candidate, 'limb/node/cam/data/t', 'denied'],
  ['candidate', candidate, 'limb/node/other/register', 'denied'],
  ['candidate', candidate, 'zigbee/x', 'denied'],
  ['limb', limb, 'limb/node/cam/register', 'core'],
  ['limb', limb, 'limb/node/cam/heartbeat', 'core'],
  ['limb', limb, 'limb/node/cam/deregister', 'core'],
  ['limb', limb, 'limb/node/cam/result', 'core'],
  ['limb', limb, 'limb/node/cam/data/t', 'route'],
  ['limb', limb, 'limb/node/cam/data/a/b/c', 'route'],
  ['limb', limb, 'limb/node/cam/data/', 'denied'],
  ['limb', limb, 'limb/node/cam/data', 'denied'],
  ['limb', limb, 'limb/node/cam/status', 'denied'],
  ['limb', limb, 'limb/node/cam/state', 'denied'],
  ['limb', limb, 'limb/node/cam/pairing', 'denied'],
  ['limb', limb, 'limb/node/cam/invoke', 'denied'],
  ['limb', limb, 'limb/node/cam2/heartbeat', 'denied'],
  ['limb', limb, 'limb/node/CAM/heartbeat', 'denied'],
  ['limb', limb, 'limb/bridge/status', 'denied'],
  ['limb', limb, 'limb', 'denied'],
  ['limb', limb, 'limb/principal/cam/request/node/list', 'denied'],
  ['limb', limb, '$SYS/x/new/clients', 'denied'],
  ['limb', limb, 'other/topic', 'denied'],
  ['limb', limb, 'zigbee/lamp', 'route'],
  ['viewer', viewer, 'limb/principal/ann/request/node/list', 'core'],
  ['viewer', viewer, 'limb/principal/ann/request/node/revoke', 'core'],
  ['viewer', viewer, 'limb/principal/bob/request/node/list', 'denied'],
  ['viewer', viewer, 'limb/principal/ann/response/node/list', 'denied'],
  ['viewer', viewer, 'limb/node/cam/data/t', 'denied'],
  ['viewer', viewer, 'limb/node/ann/heartbeat', 'denied'],
  ['viewer', viewer, 'homeassistant/x', 'denied'],
  ['admin', admin, 'limb/node/cam/status', 'denied'],
  ['admin', admin, 'limb/bridge/status', 'denied'],
  ['admin', admin, 'anything', 'denied'],
  ['homeassistant', hass, 'homeassistant/status', 'route'],
  ['homeassistant', hass, 'homeassistant', 'route'],
]

describe('publishing', () => {
  test.each(publish)('%s: %o may publish %s: %s', (_, identity, topic, expected) => {
    const right = rights.publish(identity, topic)
    expect(typeof right === 'string' ? right : right.to).toBe(expected)
  })
})

const subscribe: [Identity, string, boolean][] = [
  [candidate, 'limb/node/cam/pairing', true],
  [candidate, 'limb/node/cam/invoke', true],
  [candidate, 'limb/node/cam2/invoke', false],
  [candidate, 'limb/node/+/invoke', false],
  [candidate, 'limb/node/cam/status', false],
  [candidate, 'limb/node/+/pairing', false],
  [candidate, 'limb/node/cam/#', false],
  [candidate, 'limb/node/cam/+', false],
  [candidate, 'hello', true],
  [limb, 'limb/node/cam/pairing', true],
  [limb, 'limb/node/cam/invoke', true],
  [limb, 'limb/node/cam2/invoke', false],
  [limb, 'limb/node/cam/status', false],
  [limb, 'limb/bridge/status', false],
  [limb, 'hello', false],
  [viewer, '#', false],
  [viewer, '+/#', false],
  [viewer, 'limb/#', false],
  [viewer, '+/bridge/#', false],
  [viewer, '$SYS/#', false],
  [viewer, '$share/g/limb/bridge/#', false],
  [viewer, '$share/g/limb/node/+/status', false],
  [viewer, 'limb/bridge/#', true],
  [viewer, 'limb/bridge/pairing/+', true],
  [viewer, 'limb/node/+/status', true],
  [viewer, 'limb/node/cam/status', true],
  [viewer, 'limb/node/+/state', true],
  [viewer, 'limb/node/+/data/#', true],
  [viewer, 'limb/node/cam/data/t', true],
  [viewer, 'limb/node/+/data/+', true],
  [viewer, 'limb/node/+/+', false],
  [viewer, 'limb/node/#', false],
  [viewer, 'limb/node/cam/#', false],
  [viewer, 'limb/node/cam/pairing', false],
  [viewer, 'limb/node/cam/invoke', false],
  [viewer, 'limb/node/cam/heartbeat', false],
  [viewer, 'limb/principal/ann/response/#', true],
  [viewer, 'limb/principal/ann/response/node/list', true],
  [viewer, 'limb/principal/+/response/#', false],
  [viewer, 'limb/principal/bob/response/#', false],
  [viewer, 'limb/principal/ann/#', false],
  [viewer, 'shared/a/x', false],
  [agent, 'shared/a/x', true],
  [admin, 'shared/+/x', true],
  [admin, 'shared/#', false],
  [admin, '#', false],
  [hass, 'homeassistant/#', true],
  [hass, 'homeassistant/+/config', true],
  [hass, '+/homeassistant', false],
  [viewer, 'limb/bridge/a+', false],
  [viewer, '', false],
]

describe('subscribing', () => {
  test.each(subscribe)('%o may subscribe %s: %s', (identity, filter, expected) => {
    expect(rights.subscribe(identity, filter)).toBe(expected)
  })
})

test('the retain flag of limbs counts on their own data only', () => {
  expect(rights.retain(limb, 'limb/node/cam/data/t')).toBe(true)
  expect(rights.retain(limb, 'zigbee/lamp')).toBe(false)
  expect(rights.retain(hass, 'homeassistant/x')).toBe(true)
})

test('last words are for principals, outside the root', () => {
  expect(rights.will(hass, 'homeassistant/status')).toBe(true)
  expect(rights.will(viewer, 'homeassistant/status')).toBe(false)
  expect(rights.will(viewer, 'limb/principal/ann/request/lease/release')).toBe(false)
  expect(rights.will(limb, 'zigbee/lamp')).toBe(false)
})

describe('grants that the protocol rules out stop the start', () => {
  test.each(['#', '+/x', 'limb', 'limb/#', 'limb/node/+/status', '$SYS/#', '$share/g/x', 'a+', 'a/#/b', ''])(
    '%s',
    (filter) => {
      expect(() => new Rights(topicsOf('limb'), [{ to: 'agent', subscribe: [filter] }])).toThrow(
        /mqtt\.grants/,
      )
    },
  )

  test('below a root of several levels', () => {
    const topics = topicsOf('site1/limb')
    expect(() => new Rights(topics, [{ to: 'agent', publish: ['site1/#'] }])).toThrow(/mqtt\.grants/)
    expect(() => new Rights(topics, [{ to: 'agent', publish: ['site1/other/#'] }])).not.toThrow()
  })
})
