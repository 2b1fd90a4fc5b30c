import { expect, test } from 'vitest'
import type { Session } from '../../../src/bridge/ports.ts'
import { VerbDispatcher } from '../../../src/bridge/verbs/dispatch.ts'
import { RequestsUnderWay } from '../../../src/bridge/verbs/under-way.ts'
import { settled, start } from '../fixture.ts'

const MIB = 1024 * 1024

test('what was done is answered with what it made, though the answers that wait have no room left', async () => {
  const { context } = await start()
  const ends = new Map<string, (data: object) => void>()
  const answer = async (verb: string) => await new Promise((resolve) => ends.set(verb, resolve))
  const verbs = ['bridge/log', 'node/list', 'node/history', 'policy/set', 'node/import']
  const handlers = Object.fromEntries(verbs.map((verb) => [verb, () => answer(verb)]))
  const parts = { isCurrent: () => true, isBehind: () => false, underWay: new RequestsUnderWay(context) }
  const requests = new VerbDispatcher(context, handlers as never, parts)
  const answers: Record<string, { ok: boolean; data?: { apiKey?: string } }> = {}
  const taken = Promise.withResolvers<void>()
  const session: Session = {
    identity: { kind: 'principal', name: 'ops', role: 'admin', local: true },
    clientId: 'ops',
    address: 'local',
    alive: true,
    subscribedTo: () => true,
    send: (topic, payload) => {
      answers[topic.split('/response/')[1] ?? ''] = JSON.parse(Buffer.from(payload).toString())
      return true
    },
    end: () => {},
    whenTaken: () => taken.promise,
  }
  const args: Record<string, object> = {
    'node/history': { nodeId: 'cam1' },
    'policy/set': { principal: '*', nodeId: '*', capability: '*', level: 'free' },
    'node/import': { nodes: [{ nodeId: 'cam1' }] },
  }
  for (const verb of verbs) void requests.handle(session, verb, Buffer.from(JSON.stringify(args[verb] ?? {})))
  await expect.poll(() => ends.size).toBe(verbs.length)
  const end = async (verb: string, data: object) => {
    ends.get(verb)?.(data)
    await settled()
  }
  // The first is sent and not taken, the second waits, and there is no room for the third.
  await end('bridge/log', { text: 'x'.repeat(MIB) })
  await end('node/list', { text: 'x'.repeat(16 * MIB) })
  await end('node/history', { text: 'x'.repeat(MIB) })
  await end('policy/set', {})
  await end('node/import', { apiKey: 'k'.repeat(8192) })
  taken.resolve()
  await expect.poll(() => Object.keys(answers)).toHaveLength(verbs.length)
  expect(verbs.map((verb) => answers[verb]?.ok)).toEqual([true, true, false, true, true])
  expect(answers['node/import']?.data?.apiKey).toHaveLength(8192)
})
