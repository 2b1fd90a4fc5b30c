import { expect, test } from 'vitest'
import { keyOf, startApp } from '../../support/app.ts'

const HOUR_MS = 3_600_000

/** With a fake clock nothing is written by itself: `node/history` asks for what waits. */
test('tells when a limb came and went, the newest first, and how much of the time it was there', async () => {
  await using app = await startApp({ presence: { graceSeconds: 0 } }, { fakeClock: true, memory: true })
  const admin = await app.admin()
  await admin.do('admin', 'node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
  const limb = await app.device('cam', keyOf('cam'))
  app.clock.advance(HOUR_MS)
  await limb.publish('limb/node/cam/heartbeat')
  await limb.publish('limb/node/cam/heartbeat', { status: 'busy' })
  // The bridge's timers run through; the limb is heard once a minute.
  app.clock.advance(30_000)
  await limb.publish('limb/node/cam/deregister')
  app.clock.advance(HOUR_MS - 30_000)

  const history = await admin.do('admin', 'node/history', { nodeId: 'cam' })
  expect(
    history.items.map(({ status, reason }: { status: string; reason: string }) => [status, reason]),
  ).toEqual([
    ['offline', 'deregistered'],
    ['online', 'heartbeat'],
  ])
  expect(history).toMatchObject({ onlineSeconds: 30, uptimePercent: 0.416, nodeId: 'cam' })
  expect(Date.parse(history.until) - Date.parse(history.since)).toBe(2 * HOUR_MS)

  const first = await admin.do('admin', 'node/history', { nodeId: 'cam', limit: 1 })
  expect(first.items).toMatchObject([{ status: 'offline' }])
  const second = await admin.do('admin', 'node/history', { nodeId: 'cam', limit: 1, after: first.next })
  expect(second.items).toMatchObject([{ status: 'online' }])
  expect(second.next).toBeUndefined()
  const since = history.items[0].at
  const later = await admin.do('admin', 'node/history', { nodeId: 'cam', since })
  expect(later).toMatchObject({ since, onlineSeconds: 0, uptimePercent: 0, items: [{ status: 'offline' }] })
  expect(await admin.ask('admin', 'node/history', { nodeId: 'nobody' })).toMatchObject({
    error: { code: 'not_found' },
  })
})

test('a bridge that was away counts as a limb that was away, and a revoked limb leaves no history', async () => {
  await using app = await startApp({}, { fakeClock: true })
  const admin = await app.admin()
  await admin.do('admin', 'node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
  const limb = await app.device('cam', keyOf('cam'))
  await limb.publish('limb/node/cam/heartbeat')
  app.clock.advance(10_000)
  await app.restart()
  app.clock.advance(10_000)
  const again = await app.admin()
  const history = await again.do('admin', 'node/history', { nodeId: 'cam' })
  expect(history).toMatchObject({ onlineSeconds: 10, uptimePercent: 50 })
  expect(history.items).toMatchObject([{ reason: 'bridge_stopped' }, { reason: 'heartbeat' }])

  await again.do('admin', 'node/revoke', { nodeId: 'cam' })
  await again.do('admin', 'node/provision', { nodeId: 'cam', apiKey: keyOf('cam') })
  expect(await again.do('admin', 'node/history', { nodeId: 'cam' })).toMatchObject({ items: [] })
})
