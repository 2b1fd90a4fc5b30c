import { once } from 'node:events'
import type { OutputStream } from '../context.ts'
import type { DisplayRow } from './presentation.ts'

/** A line for each row, no faster than the reader reads; ends when told, or when the reader has gone (`| head`). */
export class LineOutput {
  readonly #output: OutputStream
  readonly #lineOf: (row: DisplayRow) => string
  readonly #ended = new AbortController()
  /** The reason why nothing more can be written; a reader that has gone is no failure. */
  failure: Error | undefined

  constructor(output: OutputStream, lineOf: (row: DisplayRow) => string) {
    this.#output = output
    this.#lineOf = lineOf
    // Stays for good: without a listener a late EPIPE would end the process as an uncaught error.
    output.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') this.failure ??= error
      this.end()
    })
  }

  get ended(): boolean {
    return this.#ended.signal.aborted
  }

  get signal(): AbortSignal {
    return this.#ended.signal
  }

  end(): void {
    this.#ended.abort()
  }

  /** Resolves at the end, for lines that come by themselves. */
  untilEnded(): Promise<void> {
    return new Promise((resolve) => {
      if (this.ended) resolve()
      else this.signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }

  async write(rows: readonly DisplayRow[]): Promise<void> {
    await this.writeText(rows.map((row) => `${this.#lineOf(row)}\n`).join(''))
  }

  /** Resolves when the reader takes more. */
  async writeText(text: string): Promise<void> {
    if (text === '' || this.ended) return
    if (this.#output.write(text)) return
    try {
      await once(this.#output, 'drain', { signal: this.signal })
    } catch (error) {
      if (!this.ended) throw error
    }
  }
}
