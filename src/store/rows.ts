import type { KeyHash } from '../kernel/secrets.ts'
import { pathText } from '../protocol/decode.ts'
import { type Capability, capabilitiesSchema } from '../protocol/schemas.ts'
import { BadRowError } from './errors.ts'

export type SqlRow = Record<string, unknown>

interface Parser<T> {
  safeParse(
    value: unknown,
  ):
    | { success: true; data: T }
    | { success: false; error: { issues: readonly { path: readonly PropertyKey[]; message: string }[] } }
}

/**
 * Reads the columns of one table's rows and refuses what does not parse. STRICT and CHECK keep wrong values out;
 * this finds those that came by damage or by another tool. One object serves all rows of a load.
 */
export class RowReader {
  readonly #table: string
  readonly #keys: readonly string[]
  #row: SqlRow = {}

  constructor(table: string, keys: readonly string[]) {
    this.#table = table
    this.#keys = keys
  }

  of(row: unknown): this {
    this.#row = row as SqlRow
    return this
  }

  bad(column: string, why: string): never {
    const key = this.#keys.map((name) => String(this.#row[name])).join(', ')
    throw new BadRowError(this.#table, key, `"${column}" ${why}`)
  }

  text(column: string): string {
    const value = this.#row[column]
    return typeof value === 'string' ? value : this.bad(column, 'is not text')
  }

  textOrNull(column: string): string | null {
    return this.#row[column] === null ? null : this.text(column)
  }

  matching(column: string, pattern: RegExp): string {
    const value = this.text(column)
    return pattern.test(value) ? value : this.bad(column, `is not of the form ${pattern.source}`)
  }

  oneOf<T extends string>(column: string, allowed: readonly T[]): T {
    const value = this.text(column)
    for (const each of allowed) if (each === value) return each
    return this.bad(column, `is not one of ${allowed.join(', ')}`)
  }

  integer(column: string): number {
    const value = this.#row[column]
    return Number.isSafeInteger(value) ? (value as number) : this.bad(column, 'is not an integer')
  }

  integerOrNull(column: string): number | null {
    return this.#row[column] === null ? null : this.integer(column)
  }

  key(salt: string, hash: string): KeyHash {
    return { salt: this.#bytes(salt, 1), hash: this.#bytes(hash, 32) }
  }

  keyOrNull(salt: string, hash: string): KeyHash | null {
    return this.#row[hash] === null ? null : this.key(salt, hash)
  }

  /** Exactly 32 bytes, a SHA-256. */
  hash(column: string): Uint8Array {
    return this.#bytes(column, 32)
  }

  blob(column: string): Uint8Array {
    return this.#bytes(column, 0)
  }

  /** JSON text that follows a schema. */
  json<T>(column: string, schema: Parser<T>): T {
    let value: unknown
    try {
      value = JSON.parse(this.text(column))
    } catch {
      return this.bad(column, 'is not JSON')
    }
    const result = schema.safeParse(value)
    if (result.success) return result.data
    const issue = result.error.issues[0]
    return this.bad(
      column,
      `does not follow the schema at ${pathText(issue?.path ?? []) || 'the top'}: ${issue?.message}`,
    )
  }

  jsonOrNull<T>(column: string, schema: Parser<T>): T | null {
    return this.#row[column] === null ? null : this.json(column, schema)
  }

  #bytes(column: string, atLeast: number): Uint8Array {
    const value = this.#row[column]
    const whole = value instanceof Uint8Array && value.length >= atLeast
    return whole ? value : this.bad(column, `is not a blob of ${atLeast} bytes or more`)
  }
}

/** Devices of one kind say the same of themselves: equal texts are parsed once and share one object. */
export class InternedJson<T extends object | string> {
  readonly #known = new Map<string, T>()
  readonly #schema: Parser<T>

  constructor(schema: Parser<T>) {
    this.#schema = schema
  }

  read(row: RowReader, column: string): T | null {
    const text = row.textOrNull(column)
    if (text === null) return null
    const known = this.#known.get(text)
    if (known !== undefined) return known
    const parsed = Object.freeze(row.json(column, this.#schema)) as T
    if (this.#known.size >= MAX_INTERNED) this.#known.clear()
    this.#known.set(text, parsed)
    return parsed
  }
}

/** Texts that most rows have in common, as one string for all of them, in the form that `form` gives them. */
export class InternedTexts {
  readonly #known = new Map<string, string>()
  readonly #form: (text: string) => string

  constructor(form: (text: string) => string) {
    this.#form = form
  }

  of(text: string): string {
    const known = this.#known.get(text)
    if (known !== undefined) return known
    const formed = this.#form(text)
    if (this.#known.size >= MAX_INTERNED) this.#known.clear()
    this.#known.set(text, formed)
    return formed
  }
}

/** Distinct texts kept before starting anew; a fleet has a handful of models. */
const MAX_INTERNED = 10_000

/** A fleet's nodes have few different capability lists: equal texts are parsed once and share one frozen object. */
export class Capabilities {
  readonly #known = new Map<string, readonly Capability[]>()
  #last: { readonly text: string; readonly parsed: readonly Capability[] } | undefined

  read(row: RowReader, column: string): readonly Capability[] {
    const text = row.text(column)
    // Without a look-up, for which a long text is hashed.
    if (this.#last?.text === text) return this.#last.parsed
    const parsed = this.#known.get(text) ?? this.#parse(row, column, text)
    this.#last = { text, parsed }
    return parsed
  }

  #parse(row: RowReader, column: string, text: string): readonly Capability[] {
    const parsed = row.json(column, capabilitiesSchema)
    for (const entry of parsed) {
      Object.freeze(entry.commands)
      Object.freeze(entry)
    }
    if (this.#known.size >= MAX_INTERNED) this.#known.clear()
    this.#known.set(text, Object.freeze(parsed))
    return parsed
  }

  /** Always the same order of keys, so that equal lists are equal texts. */
  static text(capabilities: readonly Capability[]): string {
    return JSON.stringify(capabilities.map(({ cap, commands, authLevel }) => ({ cap, commands, authLevel })))
  }
}
