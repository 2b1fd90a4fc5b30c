import { expect, test, vi } from 'vitest'
import { Core } from '../../src/bridge/core.ts'
import type { InvokeOverHttp, Session } from '../../src/bridge/ports.ts'
import { keyOf } from '../support/app.ts'
import { start } from './fixture.ts'

/** Where a limb registered from, as the next start of the bridge knows it. */

const ADDRESS = '192.0.2.7'
const ENDPOINT = 'http://robot.example:8080/'

/** The core with a provisioned limb that has registered from its address. */
async function registered(more: object) {
  const started = await start()
  const { core, ask, context } = started
  await ask('node/provision', { nodeId: 'r1', apiKey: keyOf('r1') })
  const limb: Session = {
    identity: { kind: 'limb', nodeId: 'r1' },
    clientId: 'r1',
    address: ADDRESS,
    alive: true,
    subscribedTo: () => true,
    send: () => true,
    end: () => {},
  }
  core.opened(limb)
  const registration = { displayName: 'Robot', platform: 'linux', capabilities: [], ...more }
  const register = async (session: Session) =>
    core.message(
      session,
      { kind: 'node', nodeId: 'r1', leaf: 'register' },
      Buffer.from(JSON.stringify(registration)),
    )
  await register(limb)
  const stored = async () => (await context.store.read((tx) => tx.node('r1')))?.registeredFrom
  return { ...started, limb, register, stored }
}

const PROBED = { endpointUrl: ENDPOINT, invoke: 'http', presence: { mode: 'probe' } }

test('a limb that is probed is asked at the address that it registered from before the restart', async () => {
  const { core, context } = await registered(PROBED)
  await core.stop()
  const probe = vi.fn(() => () => {})
  const client = { probe, invoke: vi.fn() } as unknown as InvokeOverHttp['client']
  const next = new Core({
    ...context,
    invokeOverHttp: { master: Buffer.alloc(32), client } as InvokeOverHttp,
  })
  await next.load()
  next.ready()
  await vi.waitFor(() => expect(probe).toHaveBeenCalled())
  expect(probe).toHaveBeenCalledWith(
    { nodeId: 'r1', endpointUrl: ENDPOINT, address: ADDRESS },
    expect.anything(),
  )
  await next.stop()
})

test('the address follows the newest registration, and is stored of limbs with an endpoint alone', async () => {
  const { limb, register, stored } = await registered(PROBED)
  expect(await stored()).toBe(ADDRESS)
  await register({ ...limb, address: '192.0.2.8' })
  expect(await stored()).toBe('192.0.2.8')
  const plain = await registered({})
  expect(await plain.stored()).toBeNull()
})
