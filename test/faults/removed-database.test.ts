import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { heldDeleted } from '../../src/host/doctor/machine.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { restoreDatabase } from '../../src/store/sqlite/backup/restore.ts'
import { patience } from '../support/patience.ts'
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

const LOST = /was removed or moved while the bridge runs/

async function bridgeIn(folder: string) {
  mkdirSync(join(folder, 'data'), { recursive: true })
  const settings = {
    store: { path: join(folder, 'data/limb.sqlite') },
    control: { socket: join(folder, 'c.sock') },
  }
  return await running({ folder, settings })
}

describe('a database that is removed under the running bridge', () => {
  test('is told, changes are refused, limbs come and go, and all of it comes back from the backup that is made', {
    timeout: patience(60_000),
  }, async () => {
    const folder = temporaryFolder()
    const bridge = await bridgeIn(folder)
    const admin = await adminOf(bridge)
    await provision(admin, 'cam-a')
    rmSync(join(folder, 'data'), { recursive: true })
    expect(heldDeleted(join(folder, 'data/limb.sqlite'))).toBeGreaterThan(0)

    const { reasons } = await until(
      () => readiness(bridge),
      ({ ready }) => !ready,
    )
    expect(reasons.join()).toMatch(LOST)
    expect(await admin.ask('admin', 'node/rename', { nodeId: 'cam-a', displayName: 'x' })).toMatchObject({
      ok: false,
      error: { code: 'storage_unavailable', message: expect.stringMatching(LOST) },
    })
    expect(await register(bridge, 'stranger')).toMatchObject({ error: { code: 'storage_unavailable' } })
    await admin.subscribe('limb/node/+/status')
    const limb = await limbOf(bridge, 'cam-a')
    await limb.publish('limb/node/cam-a/heartbeat')
    await admin.next(({ topic, text }) => topic === 'limb/node/cam-a/status' && text === 'online')

    const [saved] = await until(
      () => linesOf(bridge, /is saved as/),
      (lines) => lines.length > 0,
    )
    const file = String(JSON.parse(saved ?? '{}').file)
    expect(existsSync(file)).toBe(true)
    expect((await admin.do('admin', 'backup/create')).bytes).toBeGreaterThan(0)
    expect(linesOf(bridge, LOST).filter((line) => line.includes('"level":"error"'))).toHaveLength(1)
    await bridge.kill()

    restoreDatabase({ from: file, to: join(folder, 'data/limb.sqlite'), now: systemClock.wallMs() })
    const again = await bridgeIn(folder)
    const operator = await adminOf(again)
    expect((await operator.do('admin', 'node/list')).items).toMatchObject([{ nodeId: 'cam-a' }])
  })

  test.each(['limb.sqlite', 'limb.sqlite-wal'])(
    'by the name of %s alone is told too, and all is well when it is back',
    { timeout: patience(60_000) },
    async (name) => {
      const folder = temporaryFolder()
      const bridge = await bridgeIn(folder)
      const admin = await adminOf(bridge)
      await provision(admin, 'cam-a')
      renameSync(join(folder, 'data', name), join(folder, 'moved'))
      await until(
        () => readiness(bridge),
        ({ ready }) => !ready,
      )
      renameSync(join(folder, 'moved'), join(folder, 'data', name))
      await until(
        () => readiness(bridge),
        ({ ready }) => ready,
      )
      await provision(admin, 'cam-b')
    },
  )

  test('and replaced by another file is told as that', { timeout: patience(60_000) }, async () => {
    const folder = temporaryFolder()
    const bridge = await bridgeIn(folder)
    const file = join(folder, 'data/limb.sqlite')
    renameSync(file, join(folder, 'moved'))
    writeFileSync(file, '')
    const { reasons } = await until(
      () => readiness(bridge),
      ({ ready }) => !ready,
    )
    expect(reasons.join()).toMatch(/is another file than the one that is open/)
  })
})
