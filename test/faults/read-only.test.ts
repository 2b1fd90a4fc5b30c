import { copyFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { masterSecret } from '../../src/host/process/secret-file.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { StartError } from '../../src/kernel/errors.ts'
import { inspectDatabase } from '../../src/store/sqlite/backup/inspect.ts'
import { restoreDatabase } from '../../src/store/sqlite/backup/restore.ts'
import { openDatabase } from '../../src/store/sqlite/database.ts'
import { StoreError } from '../../src/store/sqlite/errors.ts'
import { launchBridge } from '../support/bridge-process.ts'
import { patience } from '../support/patience.ts'
import { failingDisk, fileMounts, smallDisk } from './disk.ts'
import {
  adminOf,
  limbOf,
  linesOf,
  provision,
  readiness,
  register,
  running,
  temporaryFolder,
} from './fixture.ts'

fileMounts()

const log = { debug() {}, info() {}, warn() {}, error() {} }

describe('on a disk that the kernel makes read-only', () => {
  test('limbs come and go, changes are refused, and after a repair all that was told is there', {
    timeout: patience(120_000),
  }, async (context) => {
    const disk = failingDisk()
    if (disk === null) return context.skip('no ext4 can be mounted here')
    const folder = temporaryFolder()
    const settings = { store: { path: join(disk.folder, 'data/limb.sqlite') }, presence: { saveSeconds: 1 } }
    const bridge = await running({ folder, settings })
    const admin = await adminOf(bridge)
    await provision(admin, 'cam-a')
    const told = await register(bridge, 'told')
    expect(told.status).toBe('pending')
    await admin.subscribe('limb/node/+/status')

    disk.fail()
    expect(await register(bridge, 'refused')).toMatchObject({
      status: 'error',
      error: { code: 'storage_unavailable' },
    })
    expect(await readiness(bridge)).toMatchObject({ ready: false })
    const limb = await limbOf(bridge, 'cam-a')
    await limb.publish('limb/node/cam-a/heartbeat')
    await admin.next(({ topic, text }) => topic === 'limb/node/cam-a/status' && text === 'online')
    expect(linesOf(bridge, /"level":"error"/)).toHaveLength(1)
    expect(await bridge.stop()).toBe(0)

    // Started on that disk, it serves what it knows.
    const crippled = await running({ folder, settings })
    expect(await readiness(crippled)).toMatchObject({ ready: false })
    await limbOf(crippled, 'cam-a')
    expect(await crippled.stop()).toBe(0)

    disk.repair()
    const again = await running({ folder, settings })
    const listed = await (await adminOf(again)).do('admin', 'pairing/list')
    expect(listed.items).toMatchObject([{ requestId: told.requestId }])
    expect(await readiness(again)).toEqual({ ready: true, reasons: [] })
  })

  test('a start on a disk that is mounted read-only says so', { timeout: patience(120_000) }, async () => {
    const disk = smallDisk(24)
    const folder = temporaryFolder()
    const settings = { store: { path: join(disk.folder, 'limb.sqlite') } }
    const bridge = await running({ folder, settings })
    await provision(await adminOf(bridge), 'cam-a')
    await bridge.stop()
    disk.remount('ro')
    const refused = launchBridge({ folder, settings })
    await expect(refused.ready).rejects.toThrow(/cannot start.*writ/)
    expect(await refused.ended).toMatchObject({ code: 1 })
    disk.remount('rw')
    expect(await readiness(await running({ folder, settings }))).toMatchObject({ ready: true })
  })

  test('a restore on a disk that is mounted read-only, or full, says so and changes nothing', async () => {
    const disk = smallDisk(24)
    const file = join(disk.folder, 'limb.sqlite')
    const open = () => openDatabase({ file, clock: systemClock, log })
    await open().close()
    const backup = join(temporaryFolder(), 'backup.sqlite')
    copyFileSync(file, backup)
    const restore = () => restoreDatabase({ from: backup, to: file, now: systemClock.wallMs() })
    disk.remount('ro')
    expect(restore).toThrow(StoreError)
    expect(restore).toThrow(/could not be restored.*read-only.*is as it was|cannot be taken/)
    disk.remount('rw')
    disk.fill()
    expect(restore).toThrow(/could not be restored: .*no space left.* is as it was/)
    // Full is not damaged: nobody is told to put an older database in its place.
    const found = inspectDatabase(file, { readonly: true })
    expect(found.problems.length === 0 || found.unopened).toBe(true)
    disk.free()
    const half = readdirSync(disk.folder).filter((name) => /restoring|replaced/.test(name))
    expect(half).toEqual([])
    await open().close()
    expect(restore()).toMatchObject({ nodes: 0 })
  })

  test('a first start whose secrets cannot be kept says which file cannot be made', () => {
    const disk = smallDisk(24)
    const file = join(disk.folder, 'invoke-secret')
    disk.remount('ro')
    expect(() => masterSecret(file)).toThrow(StartError)
    expect(() => masterSecret(file)).toThrow(/invoke-secret cannot be made: .*Its folder must be writable/)
  })
})
