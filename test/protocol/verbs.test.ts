import { describe, expect, it } from 'vitest'
import { Refusal } from '../../src/kernel/errors.ts'
import { check } from '../../src/protocol/decode.ts'
import { EVENTS } from '../../src/protocol/events.ts'
import { RESULTS } from '../../src/protocol/results.ts'
import { heartbeatSchema, invocationResultSchema, registrationSchema } from '../../src/protocol/schemas.ts'
import { isVerb, VERBS, type VerbDefinition, type VerbName } from '../../src/protocol/verbs.ts'

const names = Object.keys(VERBS) as VerbName[]

function refusedPath(verb: VerbName, args: unknown): string | undefined {
  try {
    check(VERBS[verb].args, args)
  } catch (error) {
    if (error instanceof Refusal) return error.path
    throw error
  }
  throw new Error('was accepted')
}

describe('the table of verbs', () => {
  it('knows its own verbs and no inherited name', () => {
    for (const name of names) expect(isVerb(name)).toBe(true)
    for (const name of ['constructor', '__proto__', 'toString', 'node', 'node/', 'NODE/LIST', '']) {
      expect(isVerb(name)).toBe(false)
    }
  })

  it('has for every verb an answer', () => {
    expect(Object.keys(RESULTS).sort()).toEqual([...names].sort())
  })

  it('names as positional only arguments that the verb has, those that are required first', () => {
    for (const name of names) {
      const definition: VerbDefinition = VERBS[name]
      const optional = (definition.positional ?? []).map((key) => {
        expect(definition.args.shape, `${name} ${key}`).toHaveProperty(key)
        return definition.args.shape[key]?.safeParse(undefined).success === true
      })
      expect([...optional].sort(), name).toEqual(optional)
    }
  })

  it('says in one sentence what each verb does', () => {
    for (const name of names) expect(VERBS[name].summary).toMatch(/^[A-Z].*\.$/)
    for (const { summary } of Object.values(EVENTS)) expect(summary).toMatch(/^[A-Z].*\.$/)
  })

  it.each(names)('%s refuses an argument that it does not know, by its name', (name) => {
    expect(refusedPath(name, { imaginary: true })).toBe('imaginary')
  })

  it.each<[VerbName, object, string, string]>([
    ['invoke', { node_id: 'cam2', capability: 'camera', command: 'snap' }, 'node_id', 'nodeId'],
    ['invoke', { nodeId: 'cam2', command: 'snap', parameters: { zoom: 2 } }, 'parameters', 'params'],
    ['invoke', { nodeId: 'cam2', command: 'snap', idempotencykey: 'k' }, 'idempotencykey', 'idempotencyKey'],
    ['invoke', { nodeId: 'cam2', command: 'snap', timeout: 3 }, 'timeout', 'timeoutSeconds'],
    ['node/rotate-key', { nodeId: 'cam', imediate: true }, 'imediate', 'immediate'],
    ['node/provision', { nodeId: 'cam', key: 'k'.repeat(24) }, 'key', 'apiKey'],
    ['audit/list', { nodeID: 'cam' }, 'nodeID', 'nodeId'],
    ['audit/list', { form: '2026-01-01T00:00:00Z', actors: 'ann' }, 'form', ''],
    [
      'node/import',
      { nodes: [{ nodeId: 'a' }, { nodeId: 'b', plattform: 'x' }] },
      'nodes[1].plattform',
      'platform',
    ],
    [
      'node/provision',
      { nodeId: 'a', capabilities: [{ cap: 'c', commands: [], authLevel: 'free', comands: ['c.x'] }] },
      'capabilities[0].comands',
      'commands',
    ],
  ])('%s refuses %j, and says what was meant', (verb, args, path, meant) => {
    try {
      check(VERBS[verb].args, args)
    } catch (error) {
      const told = error as Refusal
      expect(told.code).toBe('invalid_request')
      expect(told.path).toBe(path)
      expect(told.message).toContain(meant === '' ? '; there are ' : `did you mean ${meant}?`)
      return
    }
    throw new Error('was accepted')
  })

  it('tells an unknown key before what is missing, and no more of it than a line', () => {
    expect(refusedPath('node/get', { nodeid: 'cam' })).toBe('nodeid')
    expect(refusedPath('node/get', { nodeId: 'cam', ['x'.repeat(9000)]: 1 })?.length).toBeLessThan(70)
    expect(refusedPath('node/get', JSON.parse('{"nodeId": "cam", "constructor": 1}'))).toBe('constructor')
  })

  it('leaves what limbs send lenient: keys of newer firmware are no errors', () => {
    const entry = { cap: 'camera', commands: ['camera.snap'], authLevel: 'free', colour: 'red' }
    const registration = { displayName: 'Cam', platform: 'esp32', capabilities: [entry], mood: 'good' }
    expect(check(registrationSchema, registration)).not.toHaveProperty('mood')
    expect(check(heartbeatSchema, { status: 'online', mood: 'good' })).toEqual({ status: 'online' })
    const result = { invocationId: 'iv_1', success: true, mood: 'good' }
    expect(check(invocationResultSchema, result)).toEqual({ invocationId: 'iv_1', success: true })
  })

  it.each<[VerbName, unknown, string | undefined]>([
    ['node/list', { limit: 0 }, 'limit'],
    ['node/list', { limit: 1001 }, 'limit'],
    ['node/list', { limit: '10' }, 'limit'],
    ['node/list', { after: 'x'.repeat(513) }, 'after'],
    ['node/list', { status: 'sleeping' }, 'status'],
    ['node/list', { available: 'yes' }, 'available'],
    ['node/get', {}, 'nodeId'],
    ['node/get', { nodeId: '../x' }, 'nodeId'],
    ['node/rename', { nodeId: 'cam', displayName: ' ' }, 'displayName'],
    ['node/rename', { nodeId: 'cam', displayName: 'a\u202eb' }, 'displayName'],
    ['node/rotate-key', { nodeId: 'cam', immediate: 1 }, 'immediate'],
    ['node/provision', { nodeId: 'cam', apiKey: 'short' }, 'apiKey'],
    ['node/provision', { nodeId: 'cam', apiKey: 'x'.repeat(257) }, 'apiKey'],
    ['node/import', { nodes: [] }, 'nodes'],
    ['node/import', { nodes: [{ nodeId: 'a' }, { nodeId: 'b', platform: '' }] }, 'nodes[1].platform'],
    ['pairing/approve', { requestId: 'x'.repeat(65) }, 'requestId'],
    ['pairing/approve', { requestId: 'pr_1', revision: 1.5 }, 'revision'],
    ['pairing/permit', {}, 'seconds'],
    ['pairing/permit', { seconds: 3601 }, 'seconds'],
    ['pairing/permit', { seconds: -1 }, 'seconds'],
    ['pairing/permit', { seconds: 60, max: 0 }, 'max'],
    ['pairing/permit', { seconds: 60, nodeId: '*' }, 'nodeId'],
    ['policy/set', { principal: '*', nodeId: '*', capability: '*', level: 'open' }, 'level'],
    ['policy/set', { principal: '+', nodeId: '*', capability: '*', level: 'free' }, 'principal'],
    ['policy/explain', { principal: '*', nodeId: 'cam', capability: 'camera' }, 'principal'],
    ['principal/add', { name: 'bob', role: 'root' }, 'role'],
    ['principal/add', { name: 'bob', role: 'viewer', password: 'short' }, 'password'],
    ['principal/set-password', { name: 'bob', password: 'x'.repeat(257) }, 'password'],
  ])('%s refuses %j and names the key', (verb, args, path) => {
    expect(refusedPath(verb, args)).toBe(path)
  })
})
