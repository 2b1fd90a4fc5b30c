/** Looks at JSON as bytes, without making values of it: a megabyte of small lists is hundreds of thousands of objects. */

const TAB = 0x09
const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const SPACE = 0x20
const QUOTE = 0x22
const PLUS = 0x2b
const COMMA = 0x2c
const MINUS = 0x2d
const POINT = 0x2e
const ZERO = 0x30
const NINE = 0x39
const COLON = 0x3a
const UPPER_E = 0x45
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const LOWER_E = 0x65
const LOWER_U = 0x75
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

const bytesOf = (text: string) => [...text].map((char) => char.charCodeAt(0))
/** The bytes that may stand behind a backslash, but for the one that names a character by its number. */
const ESCAPED: ReadonlySet<number | undefined> = new Set(bytesOf('"\\/bfnrt'))
const HEX: ReadonlySet<number | undefined> = new Set(bytesOf('0123456789abcdefABCDEF'))
const HEX_DIGITS = 4
const WORDS = new Map<number | undefined, readonly number[]>(
  ['true', 'false', 'null'].map((word) => [word.charCodeAt(0), bytesOf(word)]),
)
/** The mark that some write before a text in UTF-8; readers leave it out. */
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf]

/**
 * Returns whether bytes that are UTF-8 are JSON, as `JSON.parse` reads it. It looks at each byte once, and makes nothing
 * but a byte for each level.
 */
export function isJson(bytes: Uint8Array): boolean {
  return new Look(bytes).isJson()
}

/** A further value of a list or object counts for a tenth of a part, because numbers are cheap. */
const TENTHS = 10

/**
 * Finds the first object, list, text (a key is a text) or comma beyond `max` parts of JSON, by its place; ten commas are a
 * part. Of bytes that are no JSON it says nothing of use.
 */
export function partBeyond(bytes: Uint8Array, max: number): number | undefined {
  // Each has a byte of its own.
  return bytes.length <= max ? undefined : countTenths(bytes, max * TENTHS).beyond
}

/** Counts the parts of JSON in the same way. */
export function partsIn(bytes: Uint8Array): number {
  return Math.ceil(countTenths(bytes, Number.POSITIVE_INFINITY).tenths / TENTHS)
}

/** Counts no further than to the first place that is beyond `max`. */
function countTenths(bytes: Uint8Array, max: number): { readonly tenths: number; readonly beyond?: number } {
  let tenths = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === COMMA) tenths++
    else if (byte === QUOTE || byte === OPEN_BRACKET || byte === OPEN_BRACE) tenths += TENTHS
    else continue
    if (tenths > max) return { tenths, beyond: at }
    if (byte === QUOTE) at = endOfText(bytes, at + 1)
  }
  return { tenths }
}

/** Returns the text of the key of an object whose value the byte at `place` is in; undefined: there is no object. */
export function keyOfPlace(bytes: Uint8Array, place: number): Uint8Array | undefined {
  let depth = 0
  let text = [0, 0]
  let key: readonly number[] | undefined
  for (let at = 0; at < place; at++) {
    const byte = bytes[at]
    if (byte === QUOTE) {
      const end = endOfText(bytes, at + 1)
      if (depth === 1) text = [at + 1, end]
      at = end
    } else if (byte === OPEN_BRACKET || byte === OPEN_BRACE) depth++
    else if (byte === CLOSE_BRACKET || byte === CLOSE_BRACE) depth--
    else if (byte === COLON && depth === 1) key = text
  }
  return key && bytes.subarray(...key)
}

/** Returns the place of the quote that ends a text. */
function endOfText(bytes: Uint8Array, from: number): number {
  let at = from
  while (at < bytes.length && bytes[at] !== QUOTE) at += bytes[at] === BACKSLASH ? 2 : 1
  return at
}

const FIRST_LEVELS = 64

/** Is one look through a text. Each method moves on over what it is named for, and returns whether that was there. */
class Look {
  readonly #bytes: Uint8Array
  #at: number
  /** The byte that ends each open level. */
  #ends = new Uint8Array(FIRST_LEVELS)
  #depth = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#at = BYTE_ORDER_MARK.every((byte, i) => bytes[i] === byte) ? BYTE_ORDER_MARK.length : 0
  }

  isJson(): boolean {
    while (this.#beginning()) if (!this.#next()) return this.#depth === 0 && this.#at === this.#bytes.length
    return false
  }

  /** Takes a value that has none in it, and what begins before it. */
  #beginning(): boolean {
    for (;;) {
      const byte = this.#spaces()
      if (byte !== OPEN_BRACKET && byte !== OPEN_BRACE) return this.#plain(byte)
      this.#at++
      const end = byte === OPEN_BRACE ? CLOSE_BRACE : CLOSE_BRACKET
      this.#open(end)
      if (this.#spaces() === end) return true
      if (end === CLOSE_BRACE && !this.#key()) return false
    }
  }

  /** Takes what ends behind a value, and the comma before the next one. */
  #next(): boolean {
    for (;;) {
      const byte = this.#spaces()
      if (this.#depth === 0) return false
      const end = this.#ends[this.#depth - 1]
      if (byte !== COMMA && byte !== end) return false
      this.#at++
      if (byte === COMMA) return end === CLOSE_BRACKET || (this.#spaces() === QUOTE && this.#key())
      this.#depth--
    }
  }

  #open(end: number): void {
    if (this.#depth === this.#ends.length) {
      const ends = new Uint8Array(2 * this.#depth)
      ends.set(this.#ends)
      this.#ends = ends
    }
    this.#ends[this.#depth++] = end
  }

  /** Moves to the next byte that is no white space, and returns it. */
  #spaces(): number | undefined {
    for (;;) {
      const byte = this.#bytes[this.#at]
      const isSpace = byte === SPACE || byte === LINE_FEED || byte === CARRIAGE_RETURN || byte === TAB
      if (!isSpace) return byte
      this.#at++
    }
  }

  #key(): boolean {
    if (!this.#text() || this.#spaces() !== COLON) return false
    this.#at++
    return true
  }

  /** A text, a number or a word. */
  #plain(byte: number | undefined): boolean {
    if (byte === QUOTE) return this.#text()
    const word = WORDS.get(byte)
    if (word === undefined) return this.#number()
    return word.every((each) => this.#one(each))
  }

  #text(): boolean {
    if (!this.#one(QUOTE)) return false
    for (;;) {
      const byte = this.#bytes[this.#at++]
      if (byte === QUOTE) return true
      if (byte === undefined || byte < SPACE) return false
      if (byte === BACKSLASH && !this.#escaped()) return false
    }
  }

  #escaped(): boolean {
    const byte = this.#bytes[this.#at++]
    if (byte !== LOWER_U) return ESCAPED.has(byte)
    for (let i = 0; i < HEX_DIGITS; i++) if (!HEX.has(this.#bytes[this.#at++])) return false
    return true
  }

  #number(): boolean {
    this.#one(MINUS)
    if (!this.#one(ZERO) && !this.#digits()) return false
    if (this.#one(POINT) && !this.#digits()) return false
    if (!this.#one(LOWER_E) && !this.#one(UPPER_E)) return true
    if (!this.#one(MINUS)) this.#one(PLUS)
    return this.#digits()
  }

  #digits(): boolean {
    const from = this.#at
    for (;;) {
      const byte = this.#bytes[this.#at]
      if (byte === undefined || byte < ZERO || byte > NINE) return this.#at > from
      this.#at++
    }
  }

  #one(byte: number): boolean {
    if (this.#bytes[this.#at] !== byte) return false
    this.#at++
    return true
  }
}
