import { execFileSync } from 'node:child_process'
import { chmodSync, lutimesSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

/** Archives whose bytes depend on nothing but their content: sorted, owned by root, of one time. */

/** 2 s for the whole package; 19 would save an eighth of its size for a minute and a half. */
const COMPRESSION_LEVEL = 9

export interface DebOptions {
  /** The folder of what the package installs, with the control files below `DEBIAN`. */
  readonly tree: string
  readonly file: string
  readonly epochSeconds: number
}

/** Writes a Debian package; dpkg reads its compression from 1.21.18 on: Debian 12, Ubuntu 22.04. */
export function writeDeb({ tree, file, epochSeconds }: DebOptions): void {
  // dpkg-deb takes back what is newer than SOURCE_DATE_EPOCH, but leaves what is older.
  setTimes(tree, epochSeconds)
  execFileSync(
    'dpkg-deb',
    [
      '--root-owner-group',
      '-Zzstd',
      `-z${COMPRESSION_LEVEL}`,
      // What comes out must not depend on the processors of the machine.
      '--threads-max=1',
      '--build',
      tree,
      file,
    ],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC', SOURCE_DATE_EPOCH: String(epochSeconds) },
    },
  )
}

export function gzip(data: Buffer | string): Buffer {
  // Node writes no name and no time into the header.
  return gzipSync(data, { level: 9 })
}

/** Gives files and folders the modes of a package, whatever the umask is. */
export function setModes(folder: string, programs: readonly string[]): void {
  chmodSync(folder, 0o755)
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) setModes(path, programs)
    else chmodSync(path, programs.includes(path) ? 0o755 : 0o644)
  }
}

function setTimes(folder: string, seconds: number): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) setTimes(path, seconds)
    else lutimesSync(path, seconds, seconds)
  }
  lutimesSync(folder, seconds, seconds)
}
