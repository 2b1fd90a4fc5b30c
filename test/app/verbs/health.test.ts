import { expect, test } from 'vitest'
import { keyOf, REGISTRATION, startApp } from '../../support/app.ts'
import { onPostgres } from '../../support/store.ts'
import { agent, send, worker } from '../../support/worker.ts'

test('bridge/health tells what waits for a person, which uplinks are down, and when the last backup was made', async () => {
  // Nobody listens on port 1.
  await using app = await startApp({
    uplinks: [{ name: 'home', url: 'mqtt://127.0.0.1:1', prefix: 'site1' }],
  })
  const admin = await app.admin()
  const before = await admin.do('admin', 'bridge/health')
  expect(before).toEqual({
    ready: true,
    reasons: [],
    warnings: [],
    pendingRequests: 0,
    waitingCalls: 0,
    uplinks: [{ name: 'home', connected: false }],
    lastBackupAt: null,
    // A file is of one bridge.
    ...(onPostgres && { lead: { name: expect.any(String), since: expect.any(String) } }),
    troubles: [],
    you: { name: 'admin', role: 'admin' },
  })

  const device = await app.device('new', keyOf('new'))
  await device.subscribe('limb/node/new/pairing')
  await device.publish('limb/node/new/register', REGISTRATION)
  await device.next('limb/node/new/pairing')
  await worker(app, 'r1')
  await admin.do('admin', 'policy/set', { principal: '*', nodeId: 'r1', capability: '*', level: 'gated' })
  await admin.subscribe('limb/bridge/approval/+')
  await send(await agent(app, 'ann'), 'ann', 'invoke', { nodeId: 'r1', command: 'camera.snap' })
  await admin.next(({ topic }) => topic.startsWith('limb/bridge/approval/'))
  // A server is backed up by its operator.
  const { takenAt } = onPostgres ? { takenAt: null } : await admin.do('admin', 'backup/create')
  expect(await admin.do('admin', 'bridge/health')).toMatchObject({
    pendingRequests: 1,
    waitingCalls: 1,
    lastBackupAt: takenAt,
  })
})

test('bridge/health gives the reasons of /readyz', async () => {
  await using app = await startApp(
    { http: { enabled: true, port: 0 }, mqtt: { port: 0, maxConnections: 1 } },
    { memory: true },
  )
  const admin = await app.admin()
  const response = await fetch(`http://127.0.0.1:${app.bridge.http?.port}/readyz`)
  const reasons = [expect.stringContaining('mqtt.maxConnections')]
  expect(await admin.do('admin', 'bridge/health')).toMatchObject({ ready: false, reasons })
  expect(await response.json()).toMatchObject({ ready: false, reasons })
})
