import { sha256Hex } from '../kernel/secrets.ts'
import type { Values } from './device-text.ts'

/**
 * A limb returns a picture as an object `{mimeType, base64}`: as its `data`, in a key of it, or in a list there. A
 * model sees it as an image; in the text and the structured content, where it would fill the context with letters,
 * its place is kept by `{mimeType, bytes, image}`, with the number of the image.
 */

export interface Image {
  readonly type: 'image'
  readonly data: string
  readonly mimeType: string
}

/** The images that models can look at. */
const MIME = /^image\/(?:png|jpeg|gif|webp)$/
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/
/** The most images of a result: more would not fit anyway, and a model looks at few. */
const MAX_IMAGES = 16
const MAX_DEPTH = 3

export function withoutImages(value: Values): { readonly value: Values; readonly images: readonly Image[] } {
  const images: Image[] = []
  const placeOf = (image: Image) => {
    images.push(image)
    return { bytes: Buffer.byteLength(image.data, 'base64'), image: images.length }
  }
  const textOrPlace = (text: string): unknown => {
    const image = images.length < MAX_IMAGES ? imageIn(text) : undefined
    if (image) return { mimeType: image.mimeType, ...placeOf(image) }
    return withoutLetters(text)
  }
  const walk = (each: unknown, depth: number): unknown => {
    if (typeof each === 'string') return textOrPlace(each)
    if (typeof each !== 'object' || each === null || depth > MAX_DEPTH) return each
    if (Array.isArray(each)) return each.map((item) => walk(item, depth + 1))
    const image = imageOf(each)
    if (image && images.length < MAX_IMAGES) {
      const { key, ...shown } = image
      const { [key]: _, type: __, ...rest } = each as Values
      return { ...rest, mimeType: shown.mimeType, ...placeOf(shown) }
    }
    return Object.fromEntries(Object.entries(each).map(([key, item]) => [key, walk(item, depth + 1)]))
  }
  return { value: { ...value, ...('data' in value ? { data: walk(value.data, 0) } : {}) }, images }
}

/** Longer base64 tells a model nothing, and longer text would fill its context. */
const MAX_BASE64_CHARS = 4096
const MAX_TEXT_CHARS = 65_536

function withoutLetters(text: string): unknown {
  const letters = text.length > MAX_BASE64_CHARS && straightBase64(text) !== undefined
  if (!letters && text.length <= MAX_TEXT_CHARS) return text
  const bytes = Buffer.from(text, letters ? 'base64' : 'utf8')
  const note = letters ? 'base64 that is no picture; left out' : 'text too long to show; left out'
  return { bytes: bytes.length, sha256: sha256Hex(bytes), note }
}

/** A key that limbs and MCP's own form of an image hold the letters in. */
const LETTERS = ['base64', 'data'] as const
const DATA_URI = /^data:(image\/[a-z+.-]+);base64,/i

function imageOf(value: object): (Image & { readonly key: string }) | undefined {
  const { mimeType } = value as Values
  const mime = typeof mimeType === 'string' ? modelMime(mimeType) : undefined
  if (mime === undefined) return undefined
  for (const key of LETTERS) {
    const data = straightBase64((value as Values)[key])
    if (data !== undefined) return { type: 'image', data, mimeType: mime, key }
  }
  return undefined
}

/** `data:image/png;base64,…`, wherever it stands. */
function imageIn(text: string): Image | undefined {
  const [start, type] = DATA_URI.exec(text) ?? []
  const mimeType = type === undefined ? undefined : modelMime(type)
  const data = straightBase64(text.slice(start?.length))
  return mimeType === undefined || data === undefined ? undefined : { type: 'image', data, mimeType }
}

function modelMime(text: string): string | undefined {
  const mime = text
    .trim()
    .toLowerCase()
    .replace(/^image\/jpg$/, 'image/jpeg')
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
