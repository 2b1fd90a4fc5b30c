import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/**
 * Watches whether the names of a database's files still lead to what is open. A file that was removed under a running
 * bridge goes on to be written, and is gone with the process: nothing else says so.
 */
export class OpenFiles {
  readonly #names: readonly string[]
  readonly #seen = new Map<string, { readonly dev: number; readonly ino: number }>()

  constructor(file: string) {
    this.#names = [file, `${file}-wal`, `${file}-shm`, `${file}.lock`]
    this.trouble()
  }

  /** A sentence about the first name that leads elsewhere; undefined: all are as they were opened. */
  trouble(): string | undefined {
    for (const name of this.#names) {
      const found = this.#look(name)
      const seen = this.#seen.get(name)
      if (seen === undefined) {
        if (found) this.#seen.set(name, found)
        continue
      }
      if (!found) return `${name} was removed or moved while the bridge runs`
      if (found.dev !== seen.dev || found.ino !== seen.ino) {
        return `${name} is another file than the one that is open: it was replaced while the bridge runs`
      }
    }
    return undefined
  }

  #look(name: string): { dev: number; ino: number } | undefined {
    try {
      const { dev, ino } = statSync(name)
      return { dev, ino }
    } catch {
      return undefined
    }
  }
}

/** Lists what an earlier database has left beside its place, when it is not there itself; empty: nothing. */
export function leftoversOf(file: string): readonly string[] {
  if (file === ':memory:' || existsSync(file)) return []
  const name = basename(file)
  const begins = ['-wal', '-shm', '.lock', '.acknowledged', '.replaced-', '.v'].map((end) => name + end)
  const own = (each: string) => begins.some((start) => each.startsWith(start)) || SECRETS.includes(each)
  const beside = namesIn(dirname(file)).filter(own)
  const backups = namesIn(join(dirname(file), 'backups')).filter((each) => /^limb-.*\.sqlite$/.test(each))
  return [...beside, ...backups.map((each) => join('backups', each))]
}

/** The bridge makes them beside its database. */
const SECRETS = ['admin-password', 'invoke-secret']

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort()
  } catch {
    return []
  }
}
