import { crc32, deflateRawSync } from 'node:zlib'

export interface ZipEntry {
  readonly name: string
  readonly data: Buffer
}

const VERSION = 20
const DEFLATE = 8
/** The flag that names are UTF-8. */
const UTF8 = 0x0800
/** The first day that the format knows, so that the same content makes the same bytes: 1980-01-01. */
const DATE = 0x0021
const FILE = 0o100644 * 0x10000

/** Makes a zip archive (PKWARE's APPNOTE, without its extensions for 4 GiB and more). */
export function zip(entries: readonly ZipEntry[]): Buffer {
  const files: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const { name, data } of entries) {
    const packed = deflateRawSync(data, { level: 9 })
    const path = Buffer.from(name)
    const about = Buffer.alloc(26)
    about.writeUInt16LE(VERSION, 0)
    about.writeUInt16LE(UTF8, 2)
    about.writeUInt16LE(DEFLATE, 4)
    about.writeUInt16LE(DATE, 8)
    about.writeUInt32LE(crc32(data), 10)
    about.writeUInt32LE(packed.length, 14)
    about.writeUInt32LE(data.length, 18)
    about.writeUInt16LE(path.length, 22)
    files.push(signature(0x04034b50), about, path, packed)
    const place = Buffer.alloc(14)
    place.writeUInt32LE(FILE, 6)
    place.writeUInt32LE(offset, 10)
    directory.push(signature(0x02014b50), madeBy(), about, place, path)
    offset += 4 + about.length + path.length + packed.length
  }
  const listing = Buffer.concat(directory)
  const end = Buffer.alloc(18)
  end.writeUInt16LE(entries.length, 4)
  end.writeUInt16LE(entries.length, 6)
  end.writeUInt32LE(listing.length, 8)
  end.writeUInt32LE(offset, 12)
  return Buffer.concat([...files, listing, signature(0x06054b50), end])
}

function signature(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

/** Says that the modes of the files are those of Unix. */
function madeBy(): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE((3 << 8) | VERSION)
  return bytes
}
