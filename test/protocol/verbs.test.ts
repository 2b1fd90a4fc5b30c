import { describe, expect, it } from 'vitest'
import { Refusal } from '../../src/kernel/errors.ts'
import { check } from '../../src/protocol/decode.ts'
import { EVENTS } from '../../src/protocol/events.ts'
import { RESULTS } from '../../src/protocol/results.ts'
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

  it('names as positional only arguments that the verb has and that are required', () => {
    for (const name of names) {
      const definition: VerbDefinition = VERBS[name]
      for (const key of definition.positional ?? []) {
        expect(definition.args.shape[key]?.safeParse(undefined).success, `${name} ${key}`).toBe(false)
      }
    }
  })

  it('says in one sentence what each verb does', () => {
    for (const name of names) expect(VERBS[name].summary).toMatch(/^[A-Z].*\.$/)
    for (const { summary } of Object.values(EVENTS)) expect(summary).toMatch(/^[A-Z].*\.$/)
  })

  it('ignores arguments it does not know', () => {
    expect(check(VERBS['node/get'].args, { nodeId: 'cam', transaction: 7, verbose: true })).toEqual({
      nodeId: 'cam',
    })
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
