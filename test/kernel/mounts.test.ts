import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { emptyMountPoint } from '../../src/kernel/mounts.ts'

function tables(fstab: string, unit = '') {
  const folder = mkdtempSync(join(tmpdir(), 'limb-mounts-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  mkdirSync(join(folder, 'units'))
  mkdirSync(join(folder, 'usb disk'))
  const fill = (text: string) => text.replaceAll('DIR', folder)
  writeFileSync(join(folder, 'fstab'), fill(fstab))
  if (unit !== '') writeFileSync(join(folder, 'units/mnt.mount'), fill(unit))
  return { folder, tables: { fstab: join(folder, 'fstab'), units: join(folder, 'units') } }
}

test('a folder at or below the mount point of a disk that is not there is told', () => {
  const { folder, tables: known } = tables('# disks\nUUID=1 DIR/usb\\040disk ext4 nofail 0 2\n')
  const point = join(folder, 'usb disk')
  expect(emptyMountPoint(point, known)).toBe(point)
  expect(emptyMountPoint(join(point, 'a/b'), known)).toBe(point)
  expect(emptyMountPoint(`${point}s`, known)).toBeUndefined()
  expect(emptyMountPoint(folder, known)).toBeUndefined()
})

test('a mount unit says where its disk belongs too, also when its folder is missing', () => {
  const { folder, tables: known } = tables('', '[Mount]\nWhat=/dev/sdx1\nWhere=DIR/gone\n')
  expect(emptyMountPoint(join(folder, 'gone/backups'), known)).toBe(join(folder, 'gone'))
})

test('what is mounted, the root, swap and bind mounts keep nobody from a folder', () => {
  const lines = [
    '/dev/x /proc proc defaults',
    '/dev/y / ext4 defaults',
    'z none swap sw',
    '/a DIR none bind,ro',
  ]
  const { folder, tables: known } = tables(lines.join('\n'))
  expect(emptyMountPoint('/proc/self', known)).toBeUndefined()
  expect(emptyMountPoint(folder, known)).toBeUndefined()
})

test('a machine that says nothing of mounts is taken as it is', () => {
  expect(emptyMountPoint('/srv/x', { fstab: '/nowhere/fstab', units: '/nowhere' })).toBeUndefined()
})
