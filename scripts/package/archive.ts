import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { constants, gzipSync, zstdCompressSync } from 'node:zlib'

/** Archives whose bytes depend on nothing but their content: sorted, owned by root, of one time. */

/** A tar of all below `folder`, with `./` in front as dpkg expects it. */
export function tar(folder: string, epochSeconds: number): Buffer {
  return execFileSync(
    'tar',
    [
      '--create',
      '--format=gnu',
      '--sort=name',
      `--mtime=@${epochSeconds}`,
      '--owner=root:0',
      '--group=root:0',
      '--no-xattrs',
      '--directory',
      folder,
      '.',
    ],
    { maxBuffer: 1e9, env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' } },
  )
}

export function gzip(data: Buffer | string): Buffer {
  // Node writes no name and no time into the header.
  return gzipSync(data, { level: 9 })
}

/** dpkg reads it from 1.21.18 on: Debian 12, Ubuntu 22.04. */
export function zstd(data: Buffer, level: number): Buffer {
  return zstdCompressSync(data, {
    params: {
      [constants.ZSTD_c_compressionLevel]: level,
      [constants.ZSTD_c_checksumFlag]: 1,
      // Its output does not depend on how the input was cut.
      [constants.ZSTD_c_nbWorkers]: 0,
    },
    pledgedSrcSize: data.length,
  })
}

export interface Member {
  readonly name: string
  readonly data: Buffer
}

/** The common `ar` format, as deb(5) wants it. */
export function writeAr(file: string, members: readonly Member[], epochSeconds: number): void {
  const parts: Buffer[] = [Buffer.from('!<arch>\n')]
  for (const { name, data } of members) {
    const header =
      name.padEnd(16) +
      String(epochSeconds).padEnd(12) +
      '0'.padEnd(6) +
      '0'.padEnd(6) +
      '100644'.padEnd(8) +
      String(data.length).padEnd(10) +
      '`\n'
    parts.push(Buffer.from(header, 'latin1'), data)
    if (data.length % 2 === 1) parts.push(Buffer.from('\n'))
  }
  writeFileSync(file, Buffer.concat(parts))
}
