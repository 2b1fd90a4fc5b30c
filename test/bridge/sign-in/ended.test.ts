import { describe, expect, test } from 'vitest'
import type { Identity, Session } from '../../../src/bridge/ports.ts'
import { singleRequest } from '../../../src/bridge/verbs/single-request.ts'
import { start } from '../fixture.ts'

/** Who was removed, or may do less, does nothing more with the rights of before. */

const PASSWORD = 'a-password'
const POLICY = { principal: '*', nodeId: '*', capability: 'door', level: 'free' }

type World = Awaited<ReturnType<typeof start>>

async function signedIn({ core, ask }: World, role = 'operator'): Promise<Identity> {
  await ask('principal/add', { name: 'ann', role, password: PASSWORD })
  return await admitted(core)
}

async function admitted(core: World['core'], password = PASSWORD): Promise<Identity> {
  const credentials = { clientId: 'c', username: 'ann', password, address: '192.0.2.1', local: false }
  const admission = await core.admit({ ...credentials, certificateName: undefined })
  if (!admission.admitted) throw new Error(admission.reason)
  return admission.identity
}

const ENDS: [string, (world: World, identity: Identity) => Promise<unknown>][] = [
  ['was removed', ({ ask }) => ask('principal/remove', { name: 'ann' })],
  [
    'has another password',
    ({ ask }) => ask('principal/set-password', { name: 'ann', password: 'another-one' }),
  ],
  ['has a lesser role', ({ ask }) => ask('principal/set-role', { name: 'ann', role: 'viewer' })],
]

describe.each(ENDS)('a principal that %s', (_how, end) => {
  test.each(['by its password', 'by another broker'])(
    'runs nothing that waited meanwhile (it came %s)',
    async (how) => {
      const world = await start()
      const { core, context, ask } = world
      const own = await signedIn(world)
      const identity = how === 'by its password' ? own : ({ ...own } as Identity)
      const sent: Record<string, unknown>[] = []
      const session: Session = {
        identity,
        clientId: 'c',
        address: '192.0.2.1',
        alive: true,
        subscribedTo: () => true,
        send: () => true,
        respond: (_verb, response) => sent.push(JSON.parse(Buffer.from(response).toString())),
        end: () => {},
      }
      const address = { kind: 'request', principal: 'ann', verb: 'policy/set' } as const
      const request = () => core.message(session, address, Buffer.from(JSON.stringify(POLICY)))
      await request()
      expect(sent).toMatchObject([{ ok: true }])
      await ask('policy/delete', { principal: '*', nodeId: '*', capability: 'door' })
      await end(world, identity)
      await request()
      expect(sent[1]).toMatchObject({ ok: false, error: { code: 'unauthorized' } })
      expect((await context.store.read((tx) => tx.policies({}, undefined, 10))).items).toEqual([])
    },
  )

  test('is told so at once, and nobody else is', async () => {
    const world = await start()
    const { core, ask } = world
    const identity = await signedIn(world)
    await ask('principal/add', { name: 'bob', role: 'viewer', password: PASSWORD })
    const ended: string[] = []
    core.whenEnded(identity, () => ended.push('ann'))
    const leave = core.whenEnded(identity, () => ended.push('who has left'))
    leave()
    core.whenEnded({ kind: 'principal', name: 'bob', role: 'viewer', local: false }, () => ended.push('bob'))
    core.whenEnded({ kind: 'principal', name: 'ann', role: 'admin', local: true }, () => ended.push('local'))
    await end(world, identity)
    expect(ended).toEqual(['ann'])
    // Who was let in before and comes to wait only now is told at once.
    core.whenEnded(identity, () => ended.push('late'))
    expect(ended).toEqual(['ann', 'late'])
  })

  test('waits for no limb any more, and gets no answer of one', async () => {
    const world = await start()
    const { core, ask } = world
    await ask('node/provision', {
      nodeId: 'cam1',
      capabilities: [{ cap: 'door', commands: ['door.open'], authLevel: 'free' }],
    })
    const identity = await signedIn(world, 'agent')
    const args = { nodeId: 'cam1', command: 'door.open', offlineWaitSeconds: 600 }
    const asked = singleRequest(core, {
      identity,
      address: '192.0.2.1',
      verb: 'invoke',
      payload: Buffer.from(JSON.stringify(args)),
      signal: new AbortController().signal,
    })
    await expect.poll(() => core.control.openInvocations.offline).toBe(1)
    await end(world, identity)
    expect(JSON.parse(Buffer.from(await asked).toString())).toMatchObject({
      ok: false,
      error: { code: 'unauthorized' },
    })
    await expect.poll(() => core.control.openInvocations.offline).toBe(0)
  })
})

test('a principal that changes its own password is answered', async () => {
  const world = await start()
  const { core } = world
  const identity = await signedIn(world, 'admin')
  const response = await singleRequest(core, {
    identity,
    address: '192.0.2.1',
    verb: 'principal/set-password',
    payload: Buffer.from(JSON.stringify({ name: 'ann', password: 'another-one' })),
    signal: new AbortController().signal,
  })
  expect(JSON.parse(Buffer.from(response).toString())).toMatchObject({ ok: true })
  expect(core.isCurrent(identity)).toBe(false)
  expect(core.isCurrent(await admitted(core, 'another-one'))).toBe(true)
})
