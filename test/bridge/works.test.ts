import { expect, test, vi } from 'vitest'
import type { Session } from '../../src/bridge/ports.ts'
import { keyOf } from '../support/app.ts'
import { everyWorkTwice } from '../support/twice.ts'
import { start } from './fixture.ts'

/**
 * A store may have to run a work again. Here each one is run, undone, and run again: both runs must end alike, and what
 * memory shall do must be done once.
 */

const CAMERA = { cap: 'camera', commands: ['camera.snap'], authLevel: 'leased' }
const registration = (more: object = {}) => ({
  displayName: 'Cam',
  platform: 'esp32',
  capabilities: [CAMERA],
  ...more,
})

type Data = Readonly<Record<string, unknown>> & {
  readonly items: readonly Readonly<Record<string, unknown>>[]
}

async function startTwice() {
  let runs = { works: 0 }
  const started = await start((database) => {
    const twice = everyWorkTwice(database)
    runs = twice.runs
    return twice
  })
  const { core, ask } = started
  /** Sends a registration, as a candidate until it is let in. */
  function device(nodeId: string) {
    const answers: Record<string, unknown>[] = []
    const session: Session = {
      identity: { kind: 'candidate', nodeId, key: keyOf(nodeId) },
      clientId: nodeId,
      address: '192.0.2.1',
      alive: true,
      subscribedTo: () => true,
      send: vi.fn((topic: string, payload: Uint8Array) => {
        if (topic.endsWith('/pairing')) answers.push(JSON.parse(Buffer.from(payload).toString()))
        return true
      }),
      end: () => {},
    }
    core.opened(session)
    const register = async (more: object = {}) => {
      const body = Buffer.from(JSON.stringify(registration(more)))
      await core.message(session, { kind: 'node', nodeId, leaf: 'register' }, body)
      return answers.at(-1)
    }
    return { session, register }
  }
  const good = async (verb: string, args: object = {}) => {
    const answer = await ask(verb, args)
    expect([verb, answer]).toMatchObject([verb, { ok: true }])
    return answer?.data as Data
  }
  return { ...started, device, good, runs: () => runs.works }
}

test('the window lets in as many as it was opened for', async () => {
  const { device, good, core } = await startTwice()
  await good('pairing/permit', { seconds: 60, max: 2 })
  const devices = ['cam1', 'cam2', 'cam3'].map(device)
  // In one turn: the works share a commit.
  const answers = await Promise.all(devices.map(({ register }) => register()))
  expect(answers.map((answer) => answer?.status)).toEqual(['approved', 'approved', 'pending'])
  expect(core.registry.size).toBe(2)
  expect((await device('cam4').register())?.status).toBe('pending')
})

test('a claim that waits has one id, one code and one row', async () => {
  const { device, good } = await startTwice()
  const cam = device('cam1')
  const first = await cam.register()
  expect(await cam.register()).toMatchObject({ requestId: first?.requestId, code: first?.code })
  expect(await good('pairing/list')).toMatchObject({ items: [{ requestId: first?.requestId, revision: 1 }] })
})

test('a limb may change its registration thirty times a minute, no more and no less', async () => {
  const { device, good } = await startTwice()
  const cam = device('cam1')
  await cam.register()
  await good('pairing/approve', { requestId: (await good('pairing/list')).items[0]?.requestId })
  for (let i = 0; i < 30; i++)
    expect(await cam.register({ firmware: `1.${i}` })).toMatchObject({ status: 'approved' })
  expect(await cam.register({ firmware: '2' })).toMatchObject({
    status: 'error',
    error: { code: 'too_many_requests' },
  })
})

test('what operators and agents ask for ends alike however often its work is run', async () => {
  const { device, good, ask, runs } = await startTwice()
  const cam = device('cam1')
  await cam.register()
  await good('pairing/approve', { requestId: (await good('pairing/list')).items[0]?.requestId })
  await cam.register({ capabilities: [CAMERA, { cap: 'lamp', commands: ['lamp.on'], authLevel: 'free' }] })
  await good('pairing/reject', { requestId: (await good('pairing/list')).items[0]?.requestId })
  await good('node/provision', { nodeId: 'cam2' })
  await good('node/import', { nodes: [{ nodeId: 'cam3' }, { nodeId: 'cam4', apiKey: keyOf('cam4') }] })
  expect(await ask('node/provision', { nodeId: 'cam2' })).toMatchObject({ error: { code: 'conflict' } })
  await good('node/rename', { nodeId: 'cam2', displayName: 'Door' })
  await good('node/set', { nodeId: 'cam2', area: 'hall' })
  await good('node/rotate-key', { nodeId: 'cam2' })
  await good('principal/add', { name: 'ann', role: 'agent', password: 'a long password' })
  await good('principal/set-role', { name: 'ann', role: 'viewer' })
  const { tokenId } = await good('token/add', { name: 'phone', principal: 'ann' })
  await good('token/remove', { tokenId })
  const entry = { principal: 'ann', nodeId: 'cam1', capability: 'camera' }
  await good('policy/set', { ...entry, level: 'denied' })
  await good('policy/delete', entry)
  await good('principal/remove', { name: 'ann' })
  await good('node/revoke', { nodeId: 'cam1' })
  await good('pairing/forgive', { nodeId: 'cam1' })
  expect(await good('audit/verify')).toMatchObject({ whole: true })
  expect(runs()).toBeGreaterThan(15)
})
