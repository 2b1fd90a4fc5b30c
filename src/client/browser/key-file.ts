import { LIMITS } from '../../protocol/limits.ts'

/** A limb's key in a browser: in the storage of the page's origin, under the name that is a file's path in Node. */
class StoredKey {
  readonly #name: string

  constructor(name: string) {
    this.#name = name
  }

  /** The stored key, or a new one. Throws when the page may not store, or what is stored is no key. */
  load(): string {
    const stored = storage().getItem(this.#name)
    if (stored === null) {
      const key = newKey()
      this.save(key)
      return key
    }
    if (stored.length >= LIMITS.keyCharsMin && stored.length <= LIMITS.keyCharsMax) return stored
    throw new Error(
      `${this.#name} in localStorage is no key of a limb; restore it, or remove it and pair the limb again`,
    )
  }

  save(key: string): void {
    storage().setItem(this.#name, key)
  }
}

/** It stands for the class of that name. */
export { StoredKey as KeyFile }

/** The slice of a browser's globals that is used: the compiler knows Node's alone. */
interface Storage {
  getItem(name: string): string | null
  setItem(name: string, value: string): void
}

function storage(): Storage {
  const { localStorage } = globalThis as { localStorage?: Storage }
  if (localStorage) return localStorage
  throw new Error('there is no localStorage here; give an object with load and save as keyFile')
}

/** 256 random bits, 43 characters of base64url, as in Node. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32))
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}
