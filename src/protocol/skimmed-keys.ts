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
 * short value at a time, looks at each byte once, and at nothing behind the object or in what is none.
 */
export class SkimmedKeys {
  readonly #wanted: ReadonlySet<string>
  readonly #found = new Map<string, unknown>()
  #depth = 0
  #isOver = false
  #inText = false
  /** The byte that comes next stands behind a backslash. */
  #isEscaped = false
  /** The key whose value is being read. */
  #key: unknown
  #token: Buffer[] = []
  #tokenBytes = 0

  constructor(wanted: readonly string[]) {
    this.#wanted = new Set(wanted)
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
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) this.#depth++
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) this.#close()
    if (this.#depth !== 1 || byte <= SPACE) return at + 1
    if (byte === COLON) this.#key = this.#takeToken()
    else if (byte === COMMA) this.#endValue()
    else this.#keep(bytes, at, at + 1)
    return at + 1
  }

  #close(): void {
    this.#depth--
    if (this.#depth > 0) return
    this.#endValue()
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
    this.#tokenBytes += to - from
    if (this.#tokenBytes <= MAX_VALUE_BYTES) this.#token.push(Buffer.from(bytes.subarray(from, to)))
  }

  #endValue(): void {
    const value = this.#takeToken()
    if (typeof this.#key === 'string' && this.#wanted.has(this.#key)) this.#found.set(this.#key, value)
    this.#key = undefined
  }

  #takeToken(): unknown {
    const text = this.#tokenBytes <= MAX_VALUE_BYTES ? Buffer.concat(this.#token).toString() : ''
    this.#token = []
    this.#tokenBytes = 0
    try {
      return JSON.parse(text)
    } catch {
      return undefined
    }
  }
}

function backslashesBefore(bytes: Buffer, from: number, end: number): number {
  let at = end
  while (at > from && bytes[at - 1] === BACKSLASH) at--
  return end - at
}
