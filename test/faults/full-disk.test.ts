import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { patience } from '../support/patience.ts'
import { fileMounts, type SmallDisk, smallDisk } from './disk.ts'
import {
  adminOf,
  limbOf,
  linesOf,
  provision,
  readiness,
  register,
  running,
  temporaryFolder,
  until,
} from './fixture.ts'

fileMounts()

const settings = (disk: SmallDisk) => ({
  store: { path: join(disk.folder, 'limb.sqlite') },
  pairing: { maxPendingPerAddress: 1000 },
  presence: { saveSeconds: 1 },
  backup: { everyHours: 0 },
  log: { level: 'debug', format: 'json' },
})

/** Claims until the first one is refused: the write-ahead log may have some room of its own left. */
async function registerUntilRefused(bridge: Parameters<typeof register>[0], prefix: string) {
  const stored: string[] = []
  for (let i = 0; i < 500; i++) {
    const answer = await register(bridge, `${prefix}-${i}`)
    if (answer.status === 'error') return { stored, error: answer.error }
    stored.push(answer.requestId)
  }
  throw new Error('nothing was refused')
}

describe('on a full disk', () => {
  test('pairings are refused, limbs come and go, readiness says so, and all heals by itself', {
    timeout: patience(120_000),
  }, async () => {
    const disk = smallDisk(24)
    const folder = temporaryFolder()
    const bridge = await running({ folder, settings: settings(disk) })
    const admin = await adminOf(bridge)
    await provision(admin, 'cam-a', 'cam-b')
    await admin.subscribe('limb/node/+/status')
    const first = await limbOf(bridge, 'cam-a')
    await first.publish('limb/node/cam-a/heartbeat')
    await admin.next(({ topic, text }) => topic === 'limb/node/cam-a/status' && text === 'online')

    disk.fill()
    const { stored, error } = await registerUntilRefused(bridge, 'new')
    expect(error).toMatchObject({ code: 'storage_unavailable', message: expect.stringContaining('full') })
    const waiting = await readiness(bridge)
    expect(waiting).toEqual({
      ready: false,
      reasons: [expect.stringMatching(/^database: .*full/), expect.stringMatching(/^disk: \d+ KiB are left/)],
    })

    // The command line's `status` asks this one.
    expect(await admin.do('admin', 'bridge/health')).toMatchObject(waiting)

    // Presence and sign-in need no disk.
    await first.publish('limb/node/cam-a/heartbeat', { status: 'busy' })
    await admin.next(({ topic, text }) => topic === 'limb/node/cam-a/status' && text === 'busy')
    const second = await limbOf(bridge, 'cam-b')
    await second.publish('limb/node/cam-b/heartbeat')
    await admin.next(({ topic, text }) => topic === 'limb/node/cam-b/status' && text === 'online')

    // Decisions are refused whole.
    for (const [verb, args] of [
      ['node/revoke', { nodeId: 'cam-b' }],
      ['node/rename', { nodeId: 'cam-b', displayName: 'x'.repeat(100) }],
      ['policy/set', { principal: '*', nodeId: '*', capability: '*', level: 'denied' }],
    ] as const) {
      const answer = await admin.ask('admin', verb, args)
      expect(answer, verb).toMatchObject({ ok: false, error: { code: 'storage_unavailable' } })
    }
    const backup = await admin.ask('admin', 'backup/create')
    expect(backup.error).toMatchObject({
      code: 'storage_unavailable',
      message: expect.stringContaining('MiB free'),
    })
    expect(await admin.do('admin', 'node/get', { nodeId: 'cam-b' })).toMatchObject({ status: 'online' })
    expect(linesOf(bridge, /"level":"error"/).length).toBeLessThanOrEqual(2)

    disk.free()
    // Nobody asks for a write.
    await until(
      () => readiness(bridge),
      ({ ready }) => ready,
    )
    expect(await register(bridge, 'after')).toMatchObject({ status: 'pending' })

    await bridge.kill()
    const again = await running({ folder, settings: settings(disk) })
    const listed = await (await adminOf(again)).do('admin', 'pairing/list', { limit: 1000 })
    const ids = listed.items.map((item: { requestId: string }) => item.requestId)
    expect(ids).toEqual(expect.arrayContaining(stored))
    expect(ids).toHaveLength(stored.length + 1)
  })

  test('the bridge stops cleanly and starts again, and approved limbs are let in', {
    timeout: patience(120_000),
  }, async () => {
    const disk = smallDisk(24)
    const folder = temporaryFolder()
    const before = await running({ folder, settings: settings(disk) })
    await provision(await adminOf(before), 'cam-a')
    const limb = await limbOf(before, 'cam-a')
    await limb.publish('limb/node/cam-a/heartbeat')
    disk.fill()
    await registerUntilRefused(before, 'new')
    expect(await before.stop()).toBe(0)

    disk.fill()
    const bridge = await running({ folder, settings: settings(disk) })
    const admin = await adminOf(bridge)
    await admin.subscribe('limb/node/+/status')
    const back = await limbOf(bridge, 'cam-a')
    await back.publish('limb/node/cam-a/heartbeat')
    await admin.next(({ topic, text }) => topic === 'limb/node/cam-a/status' && text === 'online')
    await registerUntilRefused(bridge, 'more')
    disk.free()
    await until(
      () => readiness(bridge),
      ({ ready }) => ready,
    )
    expect(await register(bridge, 'after')).toMatchObject({ status: 'pending' })
    expect(await bridge.stop()).toBe(0)
    expect(readdirSync(disk.folder)).not.toContain('limb.sqlite-wal')
  })
})
