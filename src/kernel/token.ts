import { createHash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'

/**
 * A token of a principal: `lbt_`, 30 random letters and digits (178 bits), and six of a checksum, so that scanners of
 * secrets know it and a mistyped one is no guess.
 */

const PREFIX = 'lbt_'
const LETTERS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const RANDOM_LETTERS = 30
const CHECK_LETTERS = 6
/** A name that begins so and is shorter gives little of a token away. */
const RESEMBLING_LETTERS = 20
const FORM = /^lbt_([0-9A-Za-z]{30})([0-9A-Za-z]{6})$/

/** Makes a new token, 40 characters long. */
export function newToken(): string {
  let text = ''
  while (text.length < RANDOM_LETTERS) {
    // Bytes at or above the largest multiple of 62 would favour the first letters.
    for (const byte of randomBytes(64)) {
      if (byte < 248 && text.length < RANDOM_LETTERS) text += LETTERS[byte % LETTERS.length]
    }
  }
  return `${PREFIX}${text}${checksum(text)}`
}

/** Returns whether `text` has the form of a token and its checksum is right. */
export function isToken(text: string): boolean {
  const [, random = '', check] = FORM.exec(text) ?? []
  return check !== undefined && checksum(random) === check
}

/** Returns whether `text` is a token, or one that was mistyped or cut: it is nobody's name, and as secret as a token. */
export function resemblesToken(text: string): boolean {
  return text.startsWith(PREFIX) && text.length >= RESEMBLING_LETTERS
}

/** Returns the SHA-256 that is stored instead of the token; a token has too much entropy to need a salt. */
export function hashToken(token: string): Uint8Array {
  return createHash('sha256').update(token, 'utf8').digest()
}

function checksum(random: string): string {
  let left = crc32(random)
  let text = ''
  while (text.length < CHECK_LETTERS) {
    text = LETTERS.charAt(left % LETTERS.length) + text
    left = Math.floor(left / LETTERS.length)
  }
  return text
}
