/** Names who asks, as the header `Authorization` says it. */
export interface Authorization {
  /** The user name of HTTP Basic; undefined with a bearer token. */
  readonly name: string | undefined
  /** A password, a token, or a limb's key. */
  readonly secret: string
}

/** Headers are bounded by the server; a secret of more is none of ours. */
const MAX_SECRET_CHARS = 4096

/** Reads Basic (RFC 7617, UTF-8) and Bearer (RFC 6750). Returns undefined for any other or broken header. */
export function parseAuthorization(header: string | undefined): Authorization | undefined {
  const [, scheme = '', value = ''] = /^(\S+) +(\S+) *$/.exec(header ?? '') ?? []
  if (scheme.toLowerCase() === 'bearer') return secretOf(undefined, value)
  if (scheme.toLowerCase() !== 'basic' || !/^[A-Za-z0-9+/]+={0,2}$/.test(value)) return undefined
  const text = decodeUtf8(Buffer.from(value, 'base64'))
  const colon = text?.indexOf(':') ?? -1
  if (text === undefined || colon < 0) return undefined
  return secretOf(text.slice(0, colon), text.slice(colon + 1))
}

function secretOf(name: string | undefined, secret: string): Authorization | undefined {
  return secret.length > MAX_SECRET_CHARS ? undefined : { name, secret }
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}
