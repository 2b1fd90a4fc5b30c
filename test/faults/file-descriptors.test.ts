import { connect, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { patience } from '../support/patience.ts'
import {
  adminOf,
  limbOf,
  metric,
  provision,
  readiness,
  register,
  running,
  temporaryFolder,
  until,
} from './fixture.ts'

/** So few that a test reaches them, and enough for a bridge at rest. */
const LIMIT = 64

test('out of file descriptors, those who are in stay, and the listeners take new ones when there are some again', {
  timeout: patience(120_000),
}, async () => {
  const bridge = await running({
    folder: temporaryFolder(),
    openFiles: LIMIT,
    settings: { mqtt: { connectSeconds: 120 } },
  })
  const admin = await adminOf(bridge)
  await provision(admin, 'cam-a', 'cam-b')
  await admin.subscribe('limb/node/+/status')
  const limb = await limbOf(bridge, 'cam-a')
  const before = await metric(bridge, 'process_open_fds')

  const crowd: Socket[] = []
  for (let i = 0; i < LIMIT * 2; i++) {
    const socket = connect(bridge.mqtt.port, '127.0.0.1')
    socket.on('error', () => undefined)
    crowd.push(socket)
  }
  await expect(limbOf(bridge, 'cam-b')).rejects.toThrow()

  await limb.publish('limb/node/cam-a/heartbeat')
  await admin.next(({ topic, text }) => topic === 'limb/node/cam-a/status' && text === 'online')
  await admin.do('admin', 'node/rename', { nodeId: 'cam-a', displayName: 'still stored' })
  const backup = await admin.ask('admin', 'backup/create')
  expect(backup).toMatchObject({ ok: false, error: { code: 'storage_unavailable' } })

  for (const socket of crowd) socket.destroy()
  await until(
    async () => (await limbOf(bridge, 'cam-b').catch(() => null)) !== null,
    (in_) => in_,
  )
  expect(await readiness(bridge)).toMatchObject({ ready: true })
  expect(await register(bridge, 'new')).toMatchObject({ status: 'pending' })
  await admin.do('admin', 'backup/create')
  await until(
    () => metric(bridge, 'process_open_fds'),
    (open) => open <= before + 4,
  )
})
