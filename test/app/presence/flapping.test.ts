import { expect, test } from 'vitest'
import { keyOf, REGISTRATION, startApp } from '../../support/app.ts'
import { patience } from '../../support/patience.ts'

const STATUS = 'limb/node/cam1/status'

test('a limb that flaps is told a few times a second, the newest wins, and it is named', async () => {
  await using app = await startApp({}, { memory: true })
  await (await app.limb('cam1')).end()
  const limb = await app.device('cam1', keyOf('cam1'))
  const admin = await app.admin()
  await admin.subscribe('limb/bridge/event/node_flapping')
  const say = (status: string) => limb.publish('limb/node/cam1/heartbeat', { status })
  const started = performance.now()
  // Nobody waits in between: on a slow machine this would be no flapping.
  await Promise.all(Array.from({ length: 200 }, (_, i) => say(i % 2 === 0 ? 'busy' : 'offline')))
  await say('degraded')
  const { at } = (await admin.next('limb/bridge/event/node_flapping')).json
  // Who was not there when it was told can ask, a viewer too.
  const password = 'wall-has-a-long-password'
  await admin.do('admin', 'principal/add', { name: 'wall', role: 'viewer', password })
  const wall = await app.principal('wall', password)
  const { troubles } = await wall.do('wall', 'bridge/health', {})
  expect(troubles).toEqual([{ nodeId: 'cam1', kind: 'node_flapping', at }])
  // Memory follows at once, and the newest is told when there is room.
  expect((await admin.do('admin', 'node/get', { nodeId: 'cam1' })).status).toBe('degraded')
  const told = () => app.logLines.filter(({ msg }) => /^cam1 is (busy|offline|degraded)$/.test(String(msg)))
  await expect.poll(() => told().at(-1)?.status, { timeout: patience(5000) }).toBe('degraded')
  const seconds = (performance.now() - started) / 1000
  // Six at once, and three a second.
  expect(told().length).toBeLessThanOrEqual(8 + 3 * seconds)
  const { items } = await admin.do('admin', 'node/history', { nodeId: 'cam1' })
  expect(items.length).toBeLessThanOrEqual(10 + 3 * seconds)
  const named = app.logLines.filter(({ msg }) => String(msg).startsWith('cam1 is flapping'))
  expect(named).toMatchObject([{ level: 'warn', nodeId: 'cam1' }])
})

/** A limb that has used up its changes, on a clock that stands: what it says next waits. */
async function flapping(overrides = {}) {
  const app = await startApp(overrides, { fakeClock: true })
  const limb = await app.limb('cam1')
  const admin = await app.admin()
  await admin.subscribe(['limb/node/cam1/status', 'limb/bridge/event/#'])
  expect((await admin.next(STATUS)).text).toBe('offline')
  const say = (status: string) => limb.publish('limb/node/cam1/heartbeat', { status })
  for (let i = 0; i < 10; i++) await say(i % 2 === 0 ? 'online' : 'offline')
  await admin.next('limb/bridge/event/node_flapping')
  for (let i = 0; i < 6; i++) await admin.next(STATUS)
  expect(admin.waiting.filter(({ topic }) => topic === STATUS)).toEqual([])
  return { app, limb, admin, say }
}

test('what a limb that was revoked had still to be told of is told to nobody', async () => {
  const { app, admin, say } = await flapping()
  await using _ = app
  await say('busy')
  await admin.do('admin', 'node/revoke', { nodeId: 'cam1' })
  await admin.next('limb/bridge/event/node_revoked')
  expect((await admin.next(STATUS)).text).toBe('')
  app.clock.advance(5000)
  await admin.settle()
  expect(admin.waiting.filter(({ topic }) => topic === STATUS)).toEqual([])
})

test('the newest status reaches those who watch when another device takes the place of one that flaps', async () => {
  const { app, admin, say } = await flapping()
  await using _ = app
  await say('busy')
  app.clock.advance(1000)
  expect((await admin.next(STATUS)).text).toBe('busy')
  for (let i = 0; i < 9; i++) await say(i % 2 === 0 ? 'online' : 'busy')
  const next = await app.device('cam1', 'another-key-of-the-same-limb')
  await next.subscribe('limb/node/cam1/pairing')
  await next.publish('limb/node/cam1/register', REGISTRATION)
  const { requestId } = (await next.next('limb/node/cam1/pairing')).json
  await admin.do('admin', 'pairing/approve', { requestId })
  await admin.next('limb/bridge/event/pairing_approved')
  await next.next('limb/node/cam1/pairing')
  await next.publish('limb/node/cam1/heartbeat', { status: 'busy' })
  expect((await admin.do('admin', 'node/get', { nodeId: 'cam1' })).status).toBe('busy')
  app.clock.advance(5000)
  await admin.settle()
  const told = admin.waiting.filter(({ topic }) => topic === STATUS).map(({ text }) => text)
  expect(told).toContain('offline')
  expect(told.at(-1)).toBe('busy')
})

test('a stop stores what a limb that flaps was last', async () => {
  const { app, say } = await flapping()
  await using _ = app
  await say('online')
  app.clock.advance(600)
  await say('offline')
  await app.restart()
  const admin = await app.admin()
  const { items } = await admin.do('admin', 'node/history', { nodeId: 'cam1' })
  expect(items[0]).toMatchObject({ status: 'offline', reason: 'reported' })
})
