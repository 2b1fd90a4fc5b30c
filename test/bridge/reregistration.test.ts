import { expect, test, vi } from 'vitest'
import type { Session } from '../../src/bridge/ports.ts'
import type { BridgeContext } from '../../src/bridge/settings.ts'
import { keyOf } from '../support/app.ts'
import { everyWorkTwice } from '../support/twice.ts'
import { start } from './fixture.ts'

/** What a limb registers after each connect: unchanged, it is answered from memory; all else goes to the store. */

const CAMERA = { cap: 'camera', commands: ['camera.snap', 'camera.clip'], authLevel: 'leased' }
const LAMP = { cap: 'lamp', commands: ['lamp.on'], authLevel: 'free' }
const SAID = { displayName: 'Cam', platform: 'esp32', firmware: '1', capabilities: [CAMERA] }

/** The secret that rotated keys are made of. */
const ROTATES = { invokeOverHttp: { master: Buffer.alloc(32, 1) } } as unknown as Partial<BridgeContext>

async function startFleet(more: Partial<BridgeContext> = {}) {
  let runs = { works: 0 }
  const started = await start((database) => {
    const counted = everyWorkTwice(database)
    runs = counted.runs
    return counted
  }, more)
  const { core, ask } = started

  /** Signs in with a key, and opens a session as the broker does. */
  async function connect(nodeId: string, key = keyOf(nodeId), subscribes = true) {
    const admission = await core.admit({
      clientId: nodeId,
      username: nodeId,
      password: key,
      address: '192.0.2.1',
      local: false,
      certificateName: undefined,
    })
    if (!admission.admitted) throw new Error(admission.reason)
    const answers: Record<string, unknown>[] = []
    const session: Session = {
      identity: admission.identity,
      clientId: nodeId,
      address: '192.0.2.1',
      alive: true,
      subscribedTo: () => subscribes,
      send: vi.fn((topic: string, payload: Uint8Array) => {
        if (topic.endsWith('/pairing')) answers.push(JSON.parse(Buffer.from(payload).toString()))
        return true
      }),
      end: () => {},
    }
    core.opened(session)
    const register = async (more: object = {}) => {
      const body = Buffer.from(JSON.stringify({ ...SAID, ...more }))
      await core.message(session, { kind: 'node', nodeId, leaf: 'register' }, body)
      return answers.at(-1)
    }
    return { session, answers, register }
  }
  const good = async (verb: string, args: object) => {
    const answer = await ask(verb, args)
    expect([verb, answer]).toMatchObject([verb, { ok: true }])
    return answer?.data as Record<string, unknown>
  }
  /** The transactions that `job` asks for. */
  const works = async (job: () => Promise<unknown>) => {
    const before = runs.works
    await job()
    return runs.works - before
  }
  await good('node/provision', { nodeId: 'cam1', apiKey: keyOf('cam1'), capabilities: [CAMERA] })
  const cam = await connect('cam1')
  await cam.register()
  return { ...started, connect, cam, good, works }
}

test('needs no transaction when nothing has changed, and the answer is the same', async () => {
  const { cam, connect, works } = await startFleet()
  const first = cam.answers.at(-1)
  expect(first).toMatchObject({ status: 'approved', capabilities: [CAMERA] })
  const again = await connect('cam1')
  expect(await works(() => again.register())).toBe(0)
  expect(again.answers).toEqual([first])
  // The order of what it can do is no change either.
  expect(
    await works(() =>
      again.register({ capabilities: [{ ...CAMERA, commands: [...CAMERA.commands].reverse() }] }),
    ),
  ).toBe(0)
})

test('is stored when any word of it has changed, with its row of the audit log', async () => {
  const { cam, core, good, works } = await startFleet()
  for (const change of [
    { firmware: '2' },
    { displayName: 'Door' },
    { platform: 'esp8266' },
    { heartbeatSeconds: 30 },
    { capabilities: [{ ...CAMERA, commands: ['camera.snap'] }] },
    { endpointUrl: 'http://192.0.2.7/' },
    { presence: { mode: 'activity' } },
  ]) {
    // What it said before is another registration again: each is one change.
    expect([change, await works(() => cam.register(change))]).toEqual([change, 1])
  }
  const { items } = await good('audit/list', { kind: 'node.updated' })
  expect(items).not.toHaveLength(0)
  expect(core.registry.get('cam1')?.record).toMatchObject({ firmware: '1', presence: { mode: 'activity' } })
})

test('asks for more each time, and a wish that is given up is withdrawn', async () => {
  const { cam, works, core } = await startFleet()
  const wish = { capabilities: [CAMERA, LAMP] }
  expect(await cam.register(wish)).toMatchObject({ status: 'approved', awaiting: expect.any(String) })
  expect(await works(() => cam.register(wish))).toBe(1)
  expect(core.pending.size).toBe(1)
  expect(await works(() => cam.register())).toBe(1)
  expect(core.pending.size).toBe(0)
  expect(cam.answers.at(-1)).not.toHaveProperty('awaiting')
  expect(await works(() => cam.register())).toBe(0)
})

test('waits behind an earlier registration that is on its way to the store', async () => {
  const { cam, held, core } = await startFleet()
  const commit = Promise.withResolvers<void>()
  held.commits.push(commit.promise)
  const wished = cam.register({ capabilities: [CAMERA, LAMP] })
  const back = cam.register()
  commit.resolve()
  await Promise.all([wished, back])
  await cam.register()
  expect(core.pending.size).toBe(0)
  expect(cam.answers.at(-1)).not.toHaveProperty('awaiting')
})

test('tells a key that was rotated meanwhile, on the same connection and on a new one', async () => {
  const { cam, connect, good, works } = await startFleet(ROTATES)
  expect(await works(() => cam.register())).toBe(0)
  const { apiKey } = await good('node/rotate-key', { nodeId: 'cam1' })
  expect(await cam.register()).toMatchObject({ apiKey })
  const again = await connect('cam1')
  expect(await again.register()).toMatchObject({ apiKey })
  const withNew = await connect('cam1', String(apiKey))
  expect(await withNew.register()).not.toHaveProperty('apiKey')
  const settled = await connect('cam1', String(apiKey))
  expect(await works(() => settled.register())).toBe(0)
})

test('a sign-in that began before the rotation does not hide its key', async () => {
  const { connect, good, context, held } = await startFleet(ROTATES)
  const { store } = context
  const read = Promise.withResolvers<void>()
  const { read: plain } = store
  // The row was read, and its reader is told late, as over a network.
  Object.assign(store, {
    read: async (work: Parameters<typeof plain>[0]) => {
      const found = await plain(work)
      await read.promise
      return found
    },
  })
  const connecting = connect('cam1')
  Object.assign(store, { read: plain })
  const { apiKey } = await good('node/rotate-key', { nodeId: 'cam1' })
  read.resolve()
  const late = await connecting
  expect(await late.register()).toMatchObject({ apiKey })
  expect(held.reads).toEqual([])
})

test('is refused after the limb was revoked, and knows nothing of its earlier life when it is approved again', async () => {
  const { cam, connect, good, works } = await startFleet()
  await good('node/revoke', { nodeId: 'cam1' })
  expect(await cam.register()).toMatchObject({ status: 'error', error: { code: 'not_found' } })
  await good('node/provision', { nodeId: 'cam1', apiKey: keyOf('next'), capabilities: [LAMP] })
  const next = await connect('cam1', keyOf('next'))
  expect(await works(() => next.register({ capabilities: [LAMP] }))).toBe(1)
  expect(next.answers.at(-1)).toMatchObject({ status: 'approved', capabilities: [LAMP] })
})

test('shows what an operator has changed: names are the operator’s, intervals too', async () => {
  const { cam, good, works } = await startFleet()
  await good('node/rename', { nodeId: 'cam1', displayName: 'Gate' })
  await good('node/set', { nodeId: 'cam1', heartbeatSeconds: 7, timeoutSeconds: 21 })
  expect(await works(() => cam.register())).toBe(0)
  expect(cam.answers.at(-1)).toMatchObject({ heartbeatSeconds: 7, timeoutSeconds: 21 })
})

test('of a limb that is invoked over HTTP always carries its secret', async () => {
  const { cam } = await startFleet(ROTATES)
  const http = { invoke: 'http', endpointUrl: 'http://192.0.2.7/' }
  const first = await cam.register(http)
  expect(first).toMatchObject({ invokeSecret: expect.any(String) })
  expect(await cam.register(http)).toEqual(first)
})

test('is answered on a full disk when nothing has changed', async () => {
  const { cam, broken } = await startFleet()
  broken.commits = true
  expect(await cam.register()).toMatchObject({ status: 'approved' })
  expect(await cam.register({ firmware: '2' })).toMatchObject({
    status: 'error',
    error: { code: 'storage_unavailable' },
  })
})
