import {
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { newKey } from '../kernel/secrets.ts'
import { LIMITS } from '../protocol/limits.ts'

/** The limb's key, in a file that only its owner can read. It exists before the first connection. */
export class KeyFile {
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  /** The stored key, or a new one. Throws when the file cannot be read or written, or holds no key. */
  load(): string {
    const stored = this.#read()
    if (stored !== undefined) return stored
    const part = this.#write(newKey())
    try {
      // Unlike a rename it never replaces what another process has made meanwhile.
      linkSync(part, this.#file)
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
    } finally {
      rmSync(part, { force: true })
    }
    return this.#read() ?? this.load()
  }

  /** Whole or not at all, and on disk when this returns: the bridge forgets the old key when it sees the new one. */
  save(key: string): void {
    renameSync(this.#write(key), this.#file)
  }

  #write(key: string): string {
    const part = `${this.#file}.${process.pid}.part`
    const handle = openSync(part, 'w', 0o600)
    try {
      writeSync(handle, `${key}\n`)
      fsyncSync(handle)
    } finally {
      closeSync(handle)
    }
    return part
  }

  #read(): string | undefined {
    let key: string
    try {
      key = readFileSync(this.#file, 'utf8').trim()
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined
      throw error
    }
    if (key.length < LIMITS.keyCharsMin || key.length > LIMITS.keyCharsMax) {
      throw new Error(
        `${this.#file} holds no key of a limb; restore it, or remove it and pair the limb again`,
      )
    }
    return key
  }
}

function hasCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code
}
