import { expect, test } from 'vitest'
import type { Session } from '../../src/bridge/ports.ts'
import type { Database } from '../../src/store/sqlite/database.ts'
import { createMqttStore } from '../../src/store/sqlite/mqtt/store.ts'
import { start } from './fixture.ts'

/** A core on a database in which `cam1` and `ops` have a stored session each. What follows a decision fails, as at a kill. */
async function withSessions() {
  let database: Database | undefined
  const app = await start((opened) => {
    database = opened
    return opened
  })
  const mqtt = createMqttStore(database as Database)
  await app.ask('node/provision', { nodeId: 'cam1', apiKey: 'k'.repeat(24) })
  await app.ask('principal/add', { name: 'ops', role: 'operator', password: 'ops-has-a-long-password' })
  for (const name of ['cam1', 'ops']) {
    const clientId = `${name} x`
    await mqtt.putSession(clientId, name, 1)
    await mqtt.putSubscriptions([{ clientId, filter: 'a/#', qos: 1, extra: null }])
    const message = {
      topic: 'a/b',
      payload: Buffer.from('old'),
      extra: null,
      brokerId: 'b',
      brokerCounter: 1,
    }
    await mqtt.enqueue([{ clientId, qos: 1, retain: false }], message)
  }
  app.broken.after = true
  /** Whose sessions the next start finds. */
  const owners = async () => {
    await mqtt.cutSessions({ sessions: 99, subscriptions: 99 })
    const sessions = await mqtt.loadSessions()
    expect((await mqtt.queueSizes()).map(({ clientId }) => clientId)).toEqual(
      sessions.map(({ clientId }) => clientId),
    )
    expect(await mqtt.loadSubscriptions()).toHaveLength(sessions.length)
    return sessions.map(({ owner }) => owner)
  }
  return { ...app, owners }
}

test('a revocation takes the stored sessions of the limb along, in its own commit', async () => {
  const { ask, owners } = await withSessions()
  expect(await ask('node/revoke', { nodeId: 'cam1' })).toMatchObject({ ok: true })
  expect(await owners()).toEqual(['ops'])
})

test('the removal of a principal takes its stored sessions along, in its own commit', async () => {
  const { ask, owners } = await withSessions()
  expect(await ask('principal/remove', { name: 'ops' })).toMatchObject({ ok: true })
  expect(await owners()).toEqual(['cam1'])
})

test('another device that takes the place of a limb finds none of its stored sessions', async () => {
  const { ask, core, owners } = await withSessions()
  const candidate: Session = {
    identity: { kind: 'candidate', nodeId: 'cam1', key: 'n'.repeat(24) },
    clientId: 'x',
    address: '10.0.0.1',
    alive: true,
    subscribedTo: () => true,
    send: () => true,
    end: () => {},
  }
  core.opened(candidate)
  const registration = { displayName: 'x', platform: 'y', capabilities: [] }
  const register = { kind: 'node', nodeId: 'cam1', leaf: 'register' } as const
  await core.message(candidate, register, Buffer.from(JSON.stringify(registration)))
  const [request] = [...core.pending.values()]
  expect(request?.kind).toBe('replace')
  expect(await ask('pairing/approve', { requestId: request?.requestId })).toMatchObject({ ok: true })
  expect(await owners()).toEqual(['ops'])
})
