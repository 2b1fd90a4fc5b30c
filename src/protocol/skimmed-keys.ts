/** The bytes of a value that is kept, as JSON: an id and its quotes, with room for escapes. */
const MAX_VALUE_BYTES = 400

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const SPACE = 0x20

/**
 * Finds the values of a few keys at the top level of a JSON object that comes in pieces and is not kept. It keeps one
 * short value at a time, looks at each byte once, reads no value that is not wanted, and looks at nothing behind the
 * object, behind its first fault, or in what is none: a message may have megabytes of colons.
 */
export class SkimmedKeys {
  readonly #wanted: ReadonlySet<string>
  /** The bytes of the longest wanted key. */
  readonly #longest: number
  /** The key or value that is being read. */
  readonly #room = Buffer.allocUnsafeSlow(MAX_VALUE_BYTES)
  readonly #found = new Map<string, unknown>()
  #depth = 0
  #isOver = false
  #inText = false
  /** The byte that comes next stands behind a backslash. */
  #isEscaped = false
  /** The key whose value is being read. */
  #key: string | undefined
  #tokenBytes = 0

  constructor(wanted: readonly string[]) {
    this.#wanted = new Set(wanted)
    this.#longest = Math.max(0, ...wanted.map((key) => Buffer.byteLength(key)))
  }

  /** Returns the value of a key: a text, a number, a truth value or null. Undefined: it has none, or one that is not short. */
  get(key: string): unknown {
    return this.#found.get(key)
  }

  feed(bytes: Buffer): void {
    let at = 0
    while (at < bytes.length && !this.#isOver)
      at = this.#inText ? this.#text(bytes, at) : this.#next(bytes, at)
  }

  /** Takes a byte outside of texts; returns where the next one is. */
  #next(bytes: Buffer, at: number): number {
    const byte = bytes[at] as number
    if (this.#depth === 0) {
      if (byte === OPEN_BRACE) this.#depth = 1
      else this.#isOver = byte > SPACE
      return at + 1
    }
    if (byte === QUOTE) this.#inText = true
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) this.#open()
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) this.#close()
    if (this.#depth !== 1 || byte <= SPACE) return at + 1
    if (byte === COLON) this.#takeKey()
    else if (byte === COMMA) this.#endValue()
    else this.#keep(bytes, at, at + 1)
    return at + 1
  }

  /** An object or a list is no short value. */
  #open(): void {
    if (this.#depth === 1) this.#tokenBytes = MAX_VALUE_BYTES + 1
    this.#depth++
  }

  #close(): void {
    this.#depth--
    if (this.#depth > 0) return
    if (this.#key !== undefined) this.#endValue()
    this.#isOver = true
  }

  /** Takes a text up to its end, or that of the piece. */
  #text(bytes: Buffer, at: number): number {
    const from = this.#isEscaped ? at + 1 : at
    this.#isEscaped = false
    const quote = bytes.indexOf(QUOTE, from)
    const end = quote < 0 ? bytes.length : quote
    const isEscaped = backslashesBefore(bytes, from, end) % 2 === 1
    if (quote < 0) this.#isEscaped = isEscaped
    else if (!isEscaped) this.#inText = false
    const after = quote < 0 ? end : quote + 1
    if (this.#depth === 1) this.#keep(bytes, at, after)
    return after
  }

  #keep(bytes: Buffer, from: number, to: number): void {
    const at = this.#tokenBytes
    this.#tokenBytes += to - from
    if (this.#tokenBytes <= MAX_VALUE_BYTES) bytes.copy(this.#room, at, from, to)
  }

  #takeKey(): void {
    if (this.#key !== undefined) {
      this.#isOver = true
      return
    }
    const key = this.#isPlainText() ? this.#takePlain() : this.#takeToken()
    if (key === TOO_LONG) this.#key = UNWANTED
    else if (typeof key === 'string') this.#key = key
    else this.#isOver = true
  }

  #takePlain(): string {
    const end = this.#tokenBytes - 1
    this.#tokenBytes = 0
    return end - 1 > this.#longest ? UNWANTED : this.#room.toString('utf8', 1, end)
  }

  /** Returns whether the token is one text without escapes, which need not be parsed. */
  #isPlainText(): boolean {
    const end = this.#tokenBytes - 1
    if (end < 1 || end >= MAX_VALUE_BYTES || this.#room[0] !== QUOTE) return false
    if (this.#room.indexOf(QUOTE, 1) !== end) return false
    const backslash = this.#room.indexOf(BACKSLASH)
    return backslash < 0 || backslash > end
  }

  #endValue(): void {
    const key = this.#key
    this.#key = undefined
    if (key === undefined) this.#isOver = true
    else if (!this.#wanted.has(key)) this.#tokenBytes = 0
    else {
      const value = this.#takeToken()
      this.#found.set(key, value === TOO_LONG ? undefined : value)
    }
  }

  #takeToken(): unknown {
    const bytes = this.#tokenBytes
    this.#tokenBytes = 0
    if (bytes > MAX_VALUE_BYTES) return TOO_LONG
    try {
      return JSON.parse(this.#room.toString('utf8', 0, bytes))
    } catch {
      this.#isOver = true
      return undefined
    }
  }
}

const TOO_LONG = Symbol('too long')
/** Stands for every key that nobody wants. */
const UNWANTED = ''

function backslashesBefore(bytes: Buffer, from: number, end: number): number {
  let at = end
  while (at > from && bytes[at - 1] === BACKSLASH) at--
  return end - at
}
