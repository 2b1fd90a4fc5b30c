import type { JSX } from 'preact'
import { t } from '../i18n/index.ts'
import { Json } from './kit.tsx'

/** What a limb answered: its pictures drawn, everything else as text. Nothing of it is ever markup. */

/** Not SVG, which can hold scripts. */
const IMAGE = /^image\/(?:png|jpeg|gif|webp)$/
const DATA_IMAGE = /^data:image\/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}$/
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/
const MAX_PICTURES = 8
const DEPTH = 4

/** The pictures of an answer as `data:` URIs: `{mimeType, base64}` anywhere in it, or a text that is such a URI. */
export function picturesIn(value: unknown, depth = 0): string[] {
  if (typeof value === 'string') return DATA_IMAGE.test(value) ? [value] : []
  if (typeof value !== 'object' || value === null || depth > DEPTH) return []
  const { mimeType, base64 } = value as { mimeType?: unknown; base64?: unknown }
  if (
    typeof mimeType === 'string' &&
    typeof base64 === 'string' &&
    IMAGE.test(mimeType) &&
    BASE64.test(base64)
  ) {
    return [`data:${mimeType};base64,${base64}`]
  }
  return Object.values(value)
    .flatMap((each) => picturesIn(each, depth + 1))
    .slice(0, MAX_PICTURES)
}

/** The same without what is drawn beside it. */
function withoutPictures(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return DATA_IMAGE.test(value) ? t('picture.above') : value
  if (typeof value !== 'object' || value === null || depth > DEPTH) return value
  if (picturesIn(value, DEPTH).length === 1 && 'base64' in value)
    return { ...value, base64: t('picture.above') }
  if (Array.isArray(value)) return value.map((each) => withoutPictures(each, depth + 1))
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, withoutPictures(each, depth + 1)]),
  )
}

export function Answer({
  data,
  artifactUri,
  alt,
}: {
  data: unknown
  artifactUri?: string | undefined
  alt: string
}): JSX.Element {
  const pictures = [...picturesIn(data), ...picturesIn(artifactUri)]
  const rest = withoutPictures(data)
  return (
    <div class="answer">
      {pictures.map((uri) => (
        <img key={uri.slice(0, 200)} src={uri} alt={alt} />
      ))}
      {artifactUri !== undefined && !DATA_IMAGE.test(artifactUri) && <Artifact uri={artifactUri} />}
      {rest !== undefined && <Json value={rest} />}
    </div>
  )
}

function Artifact({ uri }: { uri: string }): JSX.Element {
  if (!/^https?:\/\//i.test(uri)) return <p class="mono">{uri}</p>
  return (
    <p>
      <a href={uri} target="_blank" rel="noopener noreferrer">
        {uri}
      </a>
    </p>
  )
}
