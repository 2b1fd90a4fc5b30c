import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve, sep } from 'node:path'

/**
 * Finds where disks belong that may not be there: a folder below an empty mount point lies on another disk than was
 * meant.
 */

/** Files and folders that say where disks belong. */
export interface MountTables {
  readonly fstab: string
  readonly units: string
}

const TABLES: MountTables = { fstab: '/etc/fstab', units: '/etc/systemd/system' }

/** The mount point at or above `path` that the machine knows, and on which nothing is mounted now. */
export function emptyMountPoint(path: string, tables: MountTables = TABLES): string | undefined {
  const absolute = resolve(path)
  return mountPoints(tables)
    .filter((point) => point !== '/' && (absolute === point || absolute.startsWith(point + sep)))
    .find((point) => !isMounted(point))
}

function mountPoints({ fstab, units }: MountTables): string[] {
  return [...fstabPoints(textOf(fstab)), ...unitPoints(units)]
}

/** `UUID=… /mnt/usb ext4 defaults 0 2`; spaces are written as `\040`. A bind mount is no disk. */
function fstabPoints(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const [source = '', point = '', type = '', options = ''] = line.trim().split(/\s+/)
    if (source === '' || source.startsWith('#') || !point.startsWith('/')) return []
    return type === 'swap' || /(^|,)r?bind(,|$)/.test(options) ? [] : [unescaped(point)]
  })
}

function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_all, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )
}

function unitPoints(folder: string): string[] {
  return namesIn(folder)
    .filter((name) => name.endsWith('.mount'))
    .flatMap((name) => /^Where=(\/.*)$/m.exec(textOf(join(folder, name)))?.[1]?.trim() ?? [])
}

/** Another device than the folder above it. */
function isMounted(point: string): boolean {
  const own = statSync(point, { throwIfNoEntry: false })
  const above = statSync(dirname(point), { throwIfNoEntry: false })
  return own !== undefined && above !== undefined && own.dev !== above.dev
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
