import { sha256Hex } from '../kernel/secrets.ts'
import type { Values } from './device-text.ts'

/**
 * A limb returns a picture as an object `{mimeType, base64}`: as its `data`, in a key of it, or in a list there; what
 * other programs make of a picture is taken for one too. A model sees it as an image; in the text and the structured content, where it would fill the context with letters,
 * its place is kept by `{mimeType, bytes, image}`, with the number of the image.
 */

export interface Image {
  readonly type: 'image'
  readonly data: string
  readonly mimeType: string
}

/** The images that models can look at. */
const MIME = /^image\/(?:png|jpeg|gif|webp)$/
/** Older and slipped names of those. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ['image/jpg', 'image/jpeg'],
  ['image/pjpeg', 'image/jpeg'],
  ['image/jfif', 'image/jpeg'],
  ['image/x-jpeg', 'image/jpeg'],
  ['image/x-png', 'image/png'],
  ['image/x-gif', 'image/gif'],
  ['image/x-webp', 'image/webp'],
])
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/
/** The most images of a result: more would not fit anyway, and a model looks at few. */
const MAX_IMAGES = 16
/** JSON of a result has no more levels. */
const MAX_DEPTH = 64

export function withoutImages(value: Values): { readonly value: Values; readonly images: readonly Image[] } {
  const images: Image[] = []
  const placeOf = (image: Image) => {
    images.push(image)
    return { bytes: Buffer.byteLength(image.data, 'base64'), image: images.length }
  }
  const textOrPlace = (text: string, depth: number): unknown => {
    const image = images.length < MAX_IMAGES ? (imageIn(text) ?? bareImage(text)) : undefined
    if (image) return { mimeType: image.mimeType, ...placeOf(image) }
    const object = images.length < MAX_IMAGES ? objectIn(text) : undefined
    if (object === undefined) return withoutLetters(text)
    const before = images.length
    const walked = walk(object, depth + 1)
    return images.length > before ? walked : withoutLetters(text)
  }
  const walk = (each: unknown, depth: number): unknown => {
    if (typeof each === 'string') return textOrPlace(each, depth)
    if (typeof each !== 'object' || each === null || depth > MAX_DEPTH) return each
    const image = images.length < MAX_IMAGES ? imageOf(each) : undefined
    if (image) {
      const { keys, ...shown } = image
      const rest = Array.isArray(each) ? [] : Object.entries(each).filter(([key]) => !keys.includes(key))
      return { ...Object.fromEntries(rest), mimeType: shown.mimeType, ...placeOf(shown) }
    }
    if (Array.isArray(each)) return each.map((item) => walk(item, depth + 1))
    return Object.fromEntries(Object.entries(each).map(([key, item]) => [key, walk(item, depth + 1)]))
  }
  const { data, artifactUri, ...rest } = value
  const artifact = typeof artifactUri === 'string' ? imageIn(artifactUri) : undefined
  return {
    value: {
      ...rest,
      ...('data' in value ? { data: bounded(walk(data, 0)) } : {}),
      ...(artifact ? { artifact: { mimeType: artifact.mimeType, ...placeOf(artifact) } } : {}),
      ...(artifact || artifactUri === undefined ? {} : { artifactUri }),
    },
    images,
  }
}

/** Longer base64 tells a model nothing, and longer text would fill its context. */
const MAX_BASE64_CHARS = 4096
const MAX_TEXT_CHARS = 65_536

/** The letters of all of `data`: what is small in each of its parts may be large in all. */
const MAX_DATA_CHARS = 262_144

function withoutLetters(text: string): unknown {
  const letters = text.length > MAX_BASE64_CHARS && looksEncoded(text)
  if (!letters && text.length <= MAX_TEXT_CHARS) return text
  const bytes = Buffer.from(text, letters ? 'base64' : 'utf8')
  return inPlaceOf(bytes, letters ? 'base64 that is no picture; left out' : 'text too long to show; left out')
}

function bounded(data: unknown): unknown {
  const text = JSON.stringify(data)
  if (text === undefined || text.length <= MAX_DATA_CHARS) return data
  return inPlaceOf(Buffer.from(text), 'data too long to show; left out')
}

function inPlaceOf(bytes: Buffer, note: string) {
  return { bytes: bytes.length, sha256: sha256Hex(bytes), note }
}

/** Base64 stands in lines at most; words with spaces between them are letters too, and a text. */
const SHORTEST_LINE = 16

function looksEncoded(text: string): boolean {
  const spaces = text.match(/\s+/g)?.length ?? 0
  return spaces * SHORTEST_LINE <= text.length && straightBase64(text) !== undefined
}

/** Fewer letters are a word. */
const SHORTEST_LETTERS = 12

/** Keys that limbs, MCP's own form of an image and the libraries of models hold the letters in. */
const LETTERS = [
  'base64',
  'data',
  'image',
  'body',
  'content',
  'blob',
  'bytes',
  'b64_json',
  'picture',
  'photo',
]
/** The keys whose name says that the text under it is encoded. */
const CODED = ['base64', 'data', 'blob', 'b64_json']
/** Keys of the type, without what separates their words. */
const TYPES = ['mimetype', 'mime', 'contenttype', 'mediatype', 'type', 'format']
const DATA_URI = /^data:(image\/[a-z0-9+.-]{1,40})(?:;[a-z0-9-]{1,40}=[^;,]{0,80}){0,4};base64,/i

interface FoundImage extends Image {
  /** The keys that say no more than the image does. */
  readonly keys: readonly string[]
}

function imageOf(value: object): FoundImage | undefined {
  if (Array.isArray(value)) return asFound(imageOfBytes(value), [])
  const entries = Object.entries(value)
  const types = entries.filter(([key]) => TYPES.includes(key.toLowerCase().replaceAll(/[-_]/g, '')))
  const declared = types.map(([, type]) => (typeof type === 'string' ? modelMime(type) : undefined))
  const mimeType = declared.find((type) => type !== undefined)
  for (const name of LETTERS) {
    const held = entries.find(([key]) => key.toLowerCase() === name)?.[1]
    const keys = [...types.map(([key]) => key), ...entries.map(([key]) => key).filter(isSame(name))]
    const bytes = Array.isArray(held) ? imageOfBytes(held) : undefined
    if (bytes) return asFound(bytes, keys)
    const data = mimeType !== undefined && isEncoded(name, held) ? straightBase64(held) : undefined
    if (data !== undefined && mimeType !== undefined) return { type: 'image', data, mimeType, keys }
  }
  return undefined
}

/** A text under other keys may be words, or a path, that read as letters too: there the bytes must be those of a picture. */
function isEncoded(name: string, held: unknown): held is string {
  if (typeof held !== 'string' || held.length < SHORTEST_LETTERS || !looksEncoded(held)) return false
  return CODED.includes(name) || mimeOfBytes(Buffer.from(held.slice(0, 64), 'base64')) !== undefined
}

const isSame = (name: string) => (key: string) => key.toLowerCase() === name

function asFound(image: Image | undefined, keys: readonly string[]): FoundImage | undefined {
  return image && { ...image, keys }
}

/** `data:image/png;base64,…`, wherever it stands. */
function imageIn(text: string): Image | undefined {
  const [start, type] = DATA_URI.exec(text) ?? []
  const mimeType = type === undefined ? undefined : modelMime(type)
  const data = mimeType === undefined ? undefined : straightBase64(text.slice(start?.length))
  return mimeType === undefined || data === undefined ? undefined : { type: 'image', data, mimeType }
}

/** The smallest picture has more letters. */
const SHORTEST_IMAGE = 48

/** The letters of a picture alone: its first bytes say what it is. */
function bareImage(text: string): Image | undefined {
  if (text.length < SHORTEST_IMAGE || !/^\s*(?:iVBORw0KGgo|[/_]9j[/_]|R0lGOD|UklGR)/.test(text))
    return undefined
  const data = straightBase64(text)
  const mimeType = data === undefined ? undefined : mimeOfBytes(Buffer.from(data.slice(0, 32), 'base64'))
  return data === undefined || mimeType === undefined ? undefined : { type: 'image', data, mimeType }
}

/** The bytes of a picture as numbers: what JavaScript makes of a buffer. */
function imageOfBytes(list: readonly unknown[]): Image | undefined {
  const isByte = (each: unknown) => Number.isInteger(each) && (each as number) >= 0 && (each as number) < 256
  if (list.length < SHORTEST_IMAGE / 2 || !list.slice(0, 16).every(isByte)) return undefined
  const mimeType = mimeOfBytes(Buffer.from(list.slice(0, 16) as number[]))
  if (mimeType === undefined || !list.every(isByte)) return undefined
  return { type: 'image', data: Buffer.from(list as number[]).toString('base64'), mimeType }
}

function mimeOfBytes(bytes: Buffer): string | undefined {
  const start = bytes.toString('latin1')
  if (start.startsWith('\x89PNG\r\n')) return 'image/png'
  if (start.startsWith('\xff\xd8\xff')) return 'image/jpeg'
  if (start.startsWith('GIF8')) return 'image/gif'
  return start.startsWith('RIFF') && start.startsWith('WEBP', 8) ? 'image/webp' : undefined
}

/** A limb may write its JSON into a text. */
function objectIn(text: string): object | undefined {
  if (text.length < SHORTEST_IMAGE || !/^\s*[[{]/.test(text)) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

function modelMime(text: string): string | undefined {
  const [type = ''] = text.toLowerCase().split(';', 1)
  const bare = type.trim()
  // `format: "jpeg"` is a word for it too.
  const named = bare.includes('/') ? bare : `image/${bare}`
  const mime = ALIASES.get(named) ?? named
  return MIME.test(mime) ? mime : undefined
}

/**
 * Returns base64 as RFC 4648 writes it: without line breaks, with the letters of the first alphabet and its padding.
 */
function straightBase64(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined
  const padded = value.replaceAll(/\s/g, '').replaceAll('-', '+').replaceAll('_', '/')
  // No `/=+$/`: its time grows with the square of the length, and a limb chooses the text.
  let end = padded.length
  while (padded.charAt(end - 1) === '=') end--
  const bare = padded.slice(0, end)
  if (bare === '' || bare.length % 4 === 1 || !BASE64.test(bare)) return undefined
  return bare.padEnd(Math.ceil(bare.length / 4) * 4, '=')
}
