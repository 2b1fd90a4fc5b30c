import type { Values } from './tools.ts'

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

/** What models can look at. */
const MIME = /^image\/(?:png|jpeg|gif|webp)$/
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/
/** More would not fit into a result anyway, and a model looks at few. */
const MAX_IMAGES = 16
const MAX_DEPTH = 3

export function withoutImages(value: Values): { readonly value: Values; readonly images: readonly Image[] } {
  const images: Image[] = []
  const walk = (each: unknown, depth: number): unknown => {
    if (typeof each !== 'object' || each === null || depth > MAX_DEPTH) return each
    if (Array.isArray(each)) return each.map((item) => walk(item, depth + 1))
    const image = imageOf(each)
    if (image && images.length < MAX_IMAGES) {
      images.push(image)
      const { base64: _, ...rest } = each as Values
      return { ...rest, bytes: Buffer.byteLength(image.data, 'base64'), image: images.length }
    }
    return Object.fromEntries(Object.entries(each).map(([key, item]) => [key, walk(item, depth + 1)]))
  }
  return { value: { ...value, ...('data' in value ? { data: walk(value.data, 0) } : {}) }, images }
}

function imageOf(value: object): Image | undefined {
  const { mimeType, base64 } = value as Values
  if (typeof mimeType !== 'string' || typeof base64 !== 'string') return undefined
  if (!MIME.test(mimeType) || base64.length % 4 !== 0 || !BASE64.test(base64)) return undefined
  return { type: 'image', data: base64, mimeType }
}
