import { describe, expect, test } from 'vitest'
import type { Identity } from '../../src/bridge/ports.ts'
import { type Grant, type Reach, Rights } from '../../src/broker/rights.ts'
import { topicsOf } from '../../src/protocol/topics.ts'

const grants: Grant[] = [
  { to: 'homeassistant', publish: ['homeassistant/#'], subscribe: ['homeassistant/#'] },
  { to: 'agent', subscribe: ['shared/+/x'] },
  { to: 'limb', publish: ['zigbee/#'] },
  { to: 'candidate', subscribe: ['hello'] },
]
const rights = new Rights(topicsOf('limb'), grants)

const candidate: Identity = { kind: 'candidate', nodeId: 'cam', key: undefined }
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

const subscribe: [Identity, string, Reach][] = [
  [candidate, 'limb/node/cam/pairing', 'all'],
  [candidate, 'limb/node/cam/invoke', 'all'],
  [candidate, 'limb/node/cam2/invoke', 'none'],
  [candidate, 'limb/node/+/invoke', 'none'],
  [candidate, 'limb/node/cam/status', 'none'],
  [candidate, 'limb/node/+/pairing', 'none'],
  [candidate, 'limb/node/cam/#', 'none'],
  [candidate, 'limb/node/cam/+', 'none'],
  [candidate, '#', 'none'],
  [candidate, '$SYS/#', 'none'],
  [candidate, 'hello', 'all'],
  [limb, 'limb/node/cam/pairing', 'all'],
  [limb, 'limb/node/cam/invoke', 'all'],
  [limb, 'limb/node/cam2/invoke', 'none'],
  [limb, 'limb/node/cam/status', 'none'],
  [limb, 'limb/bridge/status', 'none'],
  [limb, 'limb/node/cam/#', 'none'],
  [limb, '#', 'none'],
  [limb, '$SYS/#', 'none'],
  [limb, 'hello', 'none'],
  [viewer, '#', 'some'],
  [viewer, '+/#', 'some'],
  [viewer, '+/+', 'some'],
  [viewer, '/#', 'none'],
  [viewer, 'limb/#', 'some'],
  [viewer, '+/bridge/#', 'some'],
  [viewer, '$SYS/#', 'some'],
  [viewer, '$SYS/broker/uptime', 'some'],
  [viewer, '$other/#', 'none'],
  [viewer, '$share/g/limb/bridge/#', 'none'],
  [viewer, '$share/g/limb/node/+/status', 'none'],
  [viewer, 'limb/bridge/#', 'all'],
  [viewer, 'limb/bridge/pairing/+', 'all'],
  [viewer, 'limb/node/+/status', 'all'],
  [viewer, 'limb/node/cam/status', 'all'],
  [viewer, 'limb/node/+/state', 'all'],
  [viewer, 'limb/node/+/data/#', 'all'],
  [viewer, 'limb/node/cam/data/t', 'all'],
  [viewer, 'limb/node/+/data/+', 'all'],
  [viewer, 'limb/node/+/+', 'some'],
  [viewer, 'limb/node/#', 'some'],
  [viewer, 'limb/node/cam/#', 'some'],
  [viewer, 'limb/+/cam/status', 'some'],
  [viewer, 'limb/node/cam/pairing', 'none'],
  [viewer, 'limb/node/cam/invoke', 'none'],
  [viewer, 'limb/node/+/invoke', 'none'],
  [viewer, 'limb/node/cam/heartbeat', 'none'],
  [viewer, 'limb/principal/ann/response/#', 'all'],
  [viewer, 'limb/principal/ann/response/node/list', 'all'],
  [viewer, 'limb/principal/+/response/#', 'some'],
  [viewer, 'limb/principal/bob/response/#', 'none'],
  [viewer, 'limb/principal/bob/#', 'none'],
  [viewer, 'limb/principal/ann/#', 'some'],
  [viewer, 'limb/principal/ann/request/#', 'none'],
  [viewer, 'shared/a/x', 'none'],
  [agent, 'shared/a/x', 'all'],
  [agent, 'shared/#', 'some'],
  [admin, 'shared/+/x', 'all'],
  [admin, '#', 'some'],
  [hass, 'homeassistant/#', 'all'],
  [hass, 'homeassistant/+/config', 'all'],
  [hass, '+/homeassistant', 'some'],
  [viewer, 'limb/bridge/a+', 'none'],
  [viewer, '', 'none'],
]

describe('subscribing', () => {
  test.each(subscribe)(
    'of what the filter of %o on %s matches, it reads %s',
    (identity, filter, expected) => {
      expect(rights.reach(identity, filter)).toBe(expected)
      expect(rights.subscribe(identity, filter)).toBe(expected !== 'none')
    },
  )
})

const receive: [Identity, string, boolean][] = [
  [viewer, 'limb/node/cam/status', true],
  [viewer, 'limb/node/cam/state', true],
  [viewer, 'limb/node/cam/data/a/b', true],
  [viewer, 'limb/bridge/event/node_status', true],
  [viewer, 'limb/principal/ann/response/node/list', true],
  [viewer, 'limb/principal/bob/response/node/list', false],
  [viewer, 'limb/principal/ann/request/node/list', false],
  [viewer, 'limb/node/cam/pairing', false],
  [viewer, 'limb/node/cam/invoke', false],
  [viewer, 'limb/node/cam/register', false],
  [viewer, 'limb/node/ann/result', false],
  [viewer, 'shared/a/x', false],
  [viewer, '$SYS/broker/uptime', false],
  [agent, 'shared/a/x', true],
  [agent, 'shared/a/y', false],
  [hass, 'homeassistant/status', true],
  [limb, 'limb/node/cam/invoke', true],
  [limb, 'limb/node/cam2/invoke', false],
  [limb, 'limb/node/cam/status', false],
  [limb, 'limb/node/cam/data/t', false],
]

describe('delivery', () => {
  test.each(receive)('%o may receive %s: %s', (identity, topic, expected) => {
    expect(rights.receive(identity, topic)).toBe(expected)
  })
})

describe('grants with %u and %c', () => {
  const patterned = new Rights(topicsOf('limb'), [
    { to: 'limb', publish: ['tele/%u/#', 'esp/%c/state'], subscribe: ['cmnd/%u/#', 'esp-%c/set'] },
    { to: 'viewer', subscribe: ['home/%u/#'] },
  ])
  const publishes: [string, string | undefined, 'route' | 'denied'][] = [
    ['tele/cam/LWT', 'any', 'route'],
    ['tele/cam', 'any', 'route'],
    ['tele/cam2/LWT', 'any', 'denied'],
    ['tele/%u/LWT', 'any', 'denied'],
    ['esp/esp1/state', 'esp1', 'route'],
    ['esp/esp2/state', 'esp1', 'denied'],
    ['esp/+/state', '+', 'denied'],
    ['esp/a/b/state', 'a/b', 'denied'],
    ['esp//state', '', 'denied'],
    ['esp//state', undefined, 'denied'],
    ['esp/%u/state', '%u', 'route'],
    ['esp/cam/state', '%u', 'denied'],
  ]
  test.each(publishes)('%s from client id %s: %s', (topic, clientId, expected) => {
    expect(patterned.publish(limb, topic, clientId)).toBe(expected)
  })

  test('no client id makes a topic of the broker itself of one', () => {
    const loose = new Rights(topicsOf('limb'), [{ to: 'limb', publish: ['%c/#'], subscribe: ['%c/#'] }])
    expect(loose.publish(limb, '$SYS/x/new/clients', '$SYS')).toBe('denied')
    expect(loose.subscribe(limb, '$SYS/#', '$SYS')).toBe(false)
    expect(loose.publish(limb, 'limb/node/other/heartbeat', 'limb')).toBe('denied')
    expect(loose.subscribe(limb, 'limb/bridge/#', 'limb')).toBe(false)
  })

  test.each([
    ['cmnd/cam/#', 'x', true],
    ['cmnd/cam/power', 'x', true],
    ['cmnd/+/power', 'x', false],
    ['cmnd/cam2/power', 'x', false],
    ['esp-me/set', 'me', true],
    ['esp-other/set', 'me', false],
  ])('subscribing %s as client id %s: %s', (filter, clientId, expected) => {
    expect(patterned.subscribe(limb, filter, clientId)).toBe(expected)
  })

  test('stand for the name of a principal too', () => {
    expect(patterned.subscribe(viewer, 'home/ann/#', 'x')).toBe(true)
    expect(patterned.subscribe(viewer, 'home/bob/#', 'x')).toBe(false)
    expect(patterned.receive(viewer, 'home/bob/x', 'x')).toBe(false)
  })
})

test('grants that are replaced hold at once, under another version', () => {
  const changing = new Rights(topicsOf('limb'), [{ to: 'viewer', subscribe: ['a/#'] }])
  const before = changing.version
  changing.setGrants([{ to: 'viewer', subscribe: ['b/#'] }])
  expect(changing.version).not.toBe(before)
  expect(changing.receive(viewer, 'a/x')).toBe(false)
  expect(changing.receive(viewer, 'b/x')).toBe(true)
})

test("topics that the bridge itself publishes outside the root are nobody else's", () => {
  const owned = new Rights(
    topicsOf('limb'),
    [{ to: 'limb', publish: ['homeassistant/#'] }, ...grants],
    (topic) => topic === 'homeassistant/device/cam/config',
  )
  for (const identity of [limb, hass]) {
    expect(owned.publish(identity, 'homeassistant/device/cam/config')).toBe('denied')
    expect(owned.will(identity, 'homeassistant/device/cam/config')).toBe(false)
    expect(owned.publish(identity, 'homeassistant/sensor/x/config')).toBe('route')
  }
})

test('a message waits for a stored session only if its owner may read it, or a grant may say so', () => {
  expect(rights.mayWait('ann', 'limb/principal/ann/response/node/list')).toBe(true)
  expect(rights.mayWait('ann', 'limb/principal/bob/response/node/list')).toBe(false)
  expect(rights.mayWait('ann', 'limb/bridge/info')).toBe(true)
  expect(rights.mayWait('ann', 'homeassistant/x')).toBe(true)
})

test('the retain flag counts for all but candidates', () => {
  expect(rights.retain(limb)).toBe(true)
  expect(rights.retain(hass)).toBe(true)
  expect(rights.retain(candidate)).toBe(false)
})

test('last words are for principals outside the root, and for limbs on their own data too', () => {
  expect(rights.will(hass, 'homeassistant/status')).toBe(true)
  expect(rights.will(viewer, 'homeassistant/status')).toBe(false)
  expect(rights.will(viewer, 'limb/principal/ann/request/lease/release')).toBe(false)
  expect(rights.will(limb, 'zigbee/lamp')).toBe(true)
  expect(rights.will(limb, 'limb/node/cam/data/t')).toBe(true)
  expect(rights.will(limb, 'limb/node/other/data/t')).toBe(false)
  expect(rights.will(limb, 'limb/node/cam/heartbeat')).toBe(false)
  expect(rights.will(candidate, 'zigbee/lamp')).toBe(false)
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

test('what limbs keep below their own granted topics is known by its beginning', () => {
  const granted = new Rights(topicsOf('limb'), [
    { to: 'limb', publish: ['tele/%u/#', 'esp-%u/+/x', 'a/+/%u', 'b/%c/%u/#', 'shared/#'] },
    { to: 'viewer', publish: ['home/%u/#'] },
  ])
  expect(granted.placesOf('cam')).toEqual(['tele/cam/', 'esp-cam/'])
})
