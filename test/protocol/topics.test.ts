import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { filterCovers, filterMatches, topicsOf } from '../../src/protocol/topics.ts'
import { VERBS } from '../../src/protocol/verbs.ts'

const topics = topicsOf('limb')

describe('parse', () => {
  it.each([
    ['limb/node/cam1/register', { kind: 'node', nodeId: 'cam1', leaf: 'register' }],
    ['limb/node/cam1/heartbeat', { kind: 'node', nodeId: 'cam1', leaf: 'heartbeat' }],
    ['limb/node/cam1/deregister', { kind: 'node', nodeId: 'cam1', leaf: 'deregister' }],
    ['limb/node/cam1/result', { kind: 'node', nodeId: 'cam1', leaf: 'result' }],
    ['limb/node/cam1/pairing', { kind: 'node', nodeId: 'cam1', leaf: 'pairing' }],
    ['limb/node/cam1/invoke', { kind: 'node', nodeId: 'cam1', leaf: 'invoke' }],
    ['limb/node/cam1/status', { kind: 'node', nodeId: 'cam1', leaf: 'status' }],
    ['limb/node/cam1/state', { kind: 'node', nodeId: 'cam1', leaf: 'state' }],
    ['limb/node/cam1/data/t', { kind: 'data', nodeId: 'cam1', path: 't' }],
    ['limb/node/cam1/data/a/b//c', { kind: 'data', nodeId: 'cam1', path: 'a/b//c' }],
    ['limb/bridge/status', { kind: 'bridge', path: 'status' }],
    ['limb/bridge/pairing/pr_1', { kind: 'bridge', path: 'pairing/pr_1' }],
    ['limb/principal/ada/request/node/list', { kind: 'request', principal: 'ada', verb: 'node/list' }],
    ['limb/principal/ada/response/invoke', { kind: 'response', principal: 'ada', verb: 'invoke' }],
  ])('knows %s', (topic, address) => {
    expect(topics.parse(topic)).toEqual(address)
  })

  it.each([
    '',
    'limb',
    'limb/',
    'limb/node',
    'limb/node/',
    'limb/node/cam1',
    'limb/node/cam1/',
    'limb/node//register',
    'limb/node/cam1/register/',
    'limb/node/cam1/register/x',
    'limb/node/cam1/Register',
    'limb/node/cam1/data',
    'limb/node/cam1/data/',
    'limb/node/cam1/database/x',
    'limb/node/-x/register',
    'limb/node/cam.1/register',
    'limb/node/cam1/constructor',
    'limb/principal/ada/request',
    'limb/principal/ada/request/',
    'limb/principal//request/node/list',
    'limb/principal/ada/other/node/list',
    'limbo/node/cam1/register',
    '/limb/node/cam1/register',
    'Limb/node/cam1/register',
    'homeassistant/status',
    '$SYS/broker/uptime',
  ])('does not know %j', (topic) => {
    expect(topics.parse(topic)).toBeUndefined()
  })

  it('reads back every topic that the same object spells', () => {
    expect(topics.parse(topics.node('n', 'status'))).toEqual({ kind: 'node', nodeId: 'n', leaf: 'status' })
    expect(topics.parse(`${topics.dataPrefix('n')}x`)).toEqual({ kind: 'data', nodeId: 'n', path: 'x' })
    expect(topics.parse(topics.bridgeInfo)).toEqual({ kind: 'bridge', path: 'info' })
    expect(topics.parse(topics.bridgeStatus)).toEqual({ kind: 'bridge', path: 'status' })
    expect(topics.parse(topics.approval('i'))).toEqual({ kind: 'bridge', path: 'approval/i' })
    expect(topics.parse(topics.pairingRequest('r'))).toEqual({ kind: 'bridge', path: 'pairing/r' })
    expect(topics.parse(topics.event('k'))).toEqual({ kind: 'bridge', path: 'event/k' })
    for (const verb of Object.keys(VERBS)) {
      expect(topics.parse(topics.request('p', verb))).toEqual({ kind: 'request', principal: 'p', verb })
      expect(topics.parse(topics.response('p', verb))).toEqual({ kind: 'response', principal: 'p', verb })
    }
  })

  it('works below a root of several levels', () => {
    const deep = topicsOf('site1/limb')
    expect(deep.parse('site1/limb/node/cam/state')).toEqual({ kind: 'node', nodeId: 'cam', leaf: 'state' })
    expect(deep.parse('limb/node/cam/state')).toBeUndefined()
  })
})

describe('a filter matches a topic as MQTT 4.7 says', () => {
  // The examples of the specification, sections 4.7.1.2, 4.7.1.3 and 4.7.2.
  it.each([
    ['sport/tennis/player1/#', 'sport/tennis/player1', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/ranking', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
    ['sport/#', 'sport', true],
    ['#', 'sport/tennis', true],
    ['#', '/', true],
    ['sport/tennis/+', 'sport/tennis/player1', true],
    ['sport/tennis/+', 'sport/tennis/player2', true],
    ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
    ['sport/+', 'sport', false],
    ['sport/+', 'sport/', true],
    ['+', 'sport', true],
    ['+/tennis/#', 'sport/tennis', true],
    ['+/tennis/#', 'sport/tennis/x', true],
    ['+/+', '/finance', true],
    ['/+', '/finance', true],
    ['+', '/finance', false],
    ['#', '$SYS/', false],
    ['+/monitor/Clients', '$SYS/monitor/Clients', false],
    ['$SYS/#', '$SYS/', true],
    ['$SYS/monitor/+', '$SYS/monitor/Clients', true],
    ['ACCOUNTS', 'Accounts', false],
    ['a/$b', 'a/$b', true],
    ['a/+', 'a/$b', true],
  ])('%s and %s: %s', (filter, topic, expected) => {
    expect(filterMatches(filter, topic)).toBe(expected)
  })
})

describe('a filter is covered by a grant', () => {
  it.each([
    ['limb/node/+/status', 'limb/node/cam/status', true],
    ['limb/node/+/status', 'limb/node/+/status', true],
    ['limb/node/+/status', 'limb/node/#', false],
    ['limb/node/+/status', 'limb/node/+/+', false],
    ['limb/node/cam/status', 'limb/node/+/status', false],
    ['limb/bridge/#', 'limb/bridge/#', true],
    ['limb/bridge/#', 'limb/bridge', true],
    ['limb/bridge/#', 'limb/bridge/+/x/#', true],
    ['limb/bridge/#', 'limb/#', false],
    ['limb/bridge/#', '#', false],
    ['limb/node/+/data/#', 'limb/node/cam/data', true],
    ['limb/node/+/data/#', 'limb/node/cam/#', false],
    ['a/+', 'a/#', false],
    ['+/#', '#', true],
    ['#', '+/#', true],
    ['#', '$SYS/#', false],
    ['+/#', '$SYS/#', false],
    ['+/broker/uptime', '$SYS/broker/uptime', false],
    ['$SYS/#', '$SYS/+/x', true],
  ])('%s covers %s: %s', (grant, filter, expected) => {
    expect(filterCovers(grant, filter)).toBe(expected)
  })

  /** MQTT 4.7 the slow and plain way, written apart from the code under test. */
  function matchesPlainly(filter: string, topic: string): boolean {
    const f = filter.split('/')
    const t = topic.split('/')
    if (topic.startsWith('$') && (f[0] === '+' || f[0] === '#')) return false
    const multi = f.at(-1) === '#'
    const head = multi ? f.slice(0, -1) : f
    if (multi ? t.length < head.length : t.length !== head.length) return false
    return head.every((level, i) => level === '+' || level === t[i])
  }

  // `z` stands for every level that no filter names: with it, a small alphabet finds each difference.
  const TOPIC_LEVELS = ['a', 'b', '', '$x', 'z']
  const universe: string[] = []
  function spell(prefix: string[], depth: number): void {
    if (prefix.length > 0) universe.push(prefix.join('/'))
    if (depth > 0) for (const level of TOPIC_LEVELS) spell([...prefix, level], depth - 1)
  }
  spell([], 4)
  // The empty topic does not exist [MQTT-4.7.3-1].
  const everyTopic = universe.filter((topic) => topic !== '')

  const filterArbitrary = fc
    .tuple(fc.array(fc.constantFrom('a', 'b', '', '$x', '+'), { minLength: 0, maxLength: 3 }), fc.boolean())
    .map(([levels, multi]) => [...levels, ...(multi ? ['#'] : [])].join('/'))
    .filter((filter) => filter !== '')

  it('exactly when the grant matches every topic that the filter matches', () => {
    fc.assert(
      fc.property(filterArbitrary, filterArbitrary, (grant, filter) => {
        // The empty topic counts here: nobody relies on `/+/#` reaching all that `/#` reaches.
        const covered = universe
          .filter((topic) => matchesPlainly(filter, topic))
          .every((topic) => matchesPlainly(grant, topic))
        expect(filterCovers(grant, filter)).toBe(covered)
      }),
      { numRuns: 2000 },
    )
  })

  it('and a topic is matched exactly as the specification says', () => {
    fc.assert(
      fc.property(filterArbitrary, fc.constantFrom(...everyTopic), (filter, topic) => {
        expect(filterMatches(filter, topic)).toBe(matchesPlainly(filter, topic))
      }),
      { numRuns: 2000 },
    )
  })
})
