const UTF16_MARK = [0xff, 0xfe] as const

/**
 * A secret as it was meant, from a file or a variable of the environment: a byte order mark at its beginning and line
 * feeds at its end come from editors and shells. A file of UTF-16, as PowerShell's `>` writes it, is read as such.
 */
export function secretText(source: Uint8Array | string): string {
  const text = typeof source === 'string' ? source : decoded(source)
  return text.replace(/^\ufeff+/, '').replace(/[\r\n]+$/, '')
}

/** The first line, of a file that may say more. */
export function firstLineOfSecret(source: Uint8Array | string): string {
  return secretText(source).split(/\r?\n/, 1)[0] ?? ''
}

function decoded(bytes: Uint8Array): string {
  const isUtf16 = UTF16_MARK.every((byte, i) => bytes[i] === byte)
  return new TextDecoder(isUtf16 ? 'utf-16le' : 'utf-8', { ignoreBOM: true }).decode(bytes)
}
