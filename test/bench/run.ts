import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Scale } from './scale.ts'

export interface Endable {
  end(): Promise<void>
}

/** What a benchmark may start; it is ended with it, whatever happens, and nothing else is. */
export class Bench {
  readonly scale: Scale
  readonly say: (message: string) => void
  readonly #started: Endable[] = []
  readonly #folders: string[] = []

  constructor(scale: Scale, say: (message: string) => void) {
    this.scale = scale
    this.say = say
  }

  add<T extends Endable>(started: T): T {
    this.#started.push(started)
    return started
  }

  folder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'limb-bench-'))
    this.#folders.push(folder)
    return folder
  }

  /** The newest first: a load ends before its server. */
  async endAll(): Promise<void> {
    for (let one = this.#started.pop(); one; one = this.#started.pop()) await one.end()
    for (const folder of this.#folders.splice(0)) rmSync(folder, { recursive: true, force: true })
  }
}
