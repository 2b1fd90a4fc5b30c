import { expect, test } from 'vitest'
import { keyOf, startApp } from '../../support/app.ts'
import { patience } from '../../support/patience.ts'

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
