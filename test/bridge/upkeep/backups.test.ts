import { expect, test, vi } from 'vitest'
import { backUp, backupChore } from '../../../src/bridge/upkeep/backups.ts'
import { Refusal } from '../../../src/kernel/errors.ts'
import { start } from '../fixture.ts'

/** A bridge whose backups cannot be made, because it stops or for another reason. */
async function world(isStopping: boolean) {
  const count = vi.fn()
  const { context, log } = await start()
  const create = () => Promise.reject(new Refusal('storage_unavailable', 'it ends'))
  const backups = { ...context.backups, create, isStopping }
  const settings = { ...context.settings, backup: { ...context.settings.backup, everyHours: 24 } }
  const announcer = { event: vi.fn() }
  const changed = { ...context, backups, settings, counters: { ...context.counters, count } }
  return { context: changed, announcer, count, log }
}

test('a backup that a stop ends is no failure: it is not announced, not counted, and no warning', async () => {
  const { context, announcer, count, log } = await world(true)
  await expect(backUp(context, announcer, 'ann')).rejects.toThrow('it ends')
  expect(await backupChore(context, announcer).run()).toBe('done')
  expect(announcer.event).not.toHaveBeenCalled()
  expect(count).not.toHaveBeenCalled()
  expect(log.warn).not.toHaveBeenCalled()
  expect(log.info).toHaveBeenCalledWith({ by: 'bridge' }, 'no backup: it ends')
})

test('a backup that fails is announced, counted, and a warning', async () => {
  const { context, announcer, count, log } = await world(false)
  await expect(backupChore(context, announcer).run()).rejects.toThrow('it ends')
  expect(announcer.event).toHaveBeenCalledWith('backup_failed', { by: 'bridge', error: 'it ends' })
  expect(count).toHaveBeenCalledWith('backups', 'failed')
  expect(log.warn).toHaveBeenCalledWith({ error: 'it ends', by: 'bridge' }, 'no backup: it ends')
})
