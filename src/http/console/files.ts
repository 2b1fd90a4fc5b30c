import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'

/** Is one file of the built console, with its compressed forms, held in memory: there are some ten of them. */
export interface ConsoleFile {
  readonly type: string
  readonly bytes: Buffer
  readonly encoded: Readonly<Partial<Record<ContentEncoding, Buffer>>>
  readonly etag: string
  /** Its name holds the hash of its content, so that a browser may keep it for ever. */
  readonly immutable: boolean
}

/** The encodings that the build writes beside each file, the smallest first. */
const ENCODINGS = { br: '.br', gzip: '.gz' } as const
export type ContentEncoding = keyof typeof ENCODINGS

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.webmanifest': 'application/manifest+json',
  '.png': 'image/png',
}

/** The folder below which Vite puts what has a hash in its name. */
const HASHED = 'assets/'

/** Reads the built console by the paths of its URLs; undefined when nothing is built there. */
export function loadConsoleFiles(folder: string): ReadonlyMap<string, ConsoleFile> | undefined {
  if (!existsSync(join(folder, 'index.html'))) return undefined
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return new Map(
    names
      .filter((name) => TYPES[extname(name)] !== undefined)
      .map((name) => [name === 'index.html' ? '/' : `/${name}`, load(folder, name)]),
  )
}

function load(folder: string, name: string): ConsoleFile {
  const bytes = readFileSync(join(folder, name))
  const encoded = Object.entries(ENCODINGS).flatMap(([encoding, suffix]) => {
    const file = join(folder, `${name}${suffix}`)
    return existsSync(file) ? [[encoding, readFileSync(file)] as const] : []
  })
  return {
    type: TYPES[extname(name)] ?? 'application/octet-stream',
    bytes,
    encoded: Object.fromEntries(encoded),
    etag: createHash('sha256').update(bytes).digest('base64url').slice(0, 22),
    immutable: name.startsWith(HASHED),
  }
}

/** Returns the encoding to answer with, the smallest that the client takes; undefined: as it is. */
export function acceptedEncoding(header: string | undefined, file: ConsoleFile): ContentEncoding | undefined {
  const taken = (header ?? '').split(',').flatMap((part) => {
    // No expression with blanks before the `;`: its time grows with the square of theirs, and anybody sends them.
    const [name = '', ...parameters] = part
      .toLowerCase()
      .split(';')
      .map((each) => each.trim())
    return parameters.some((each) => /^q=0(\.0*)?$/.test(each)) ? [] : [name]
  })
  const names = Object.keys(ENCODINGS) as ContentEncoding[]
  return names.find((name) => taken.includes(name) && file.encoded[name] !== undefined)
}
