import { useEffect, useState } from 'preact/hooks'

/** Hidden pages draw no frames, and their title still has to change. */
const HIDDEN_MS = 200

/**
 * Tells listeners that something changed, once for each frame however often it changed: a thousand messages in a second
 * are sixty renderings at most.
 */
export class Signal {
  readonly #listeners = new Set<() => void>()
  readonly #everyMs: number
  #scheduled = false
  #last = 0
  version = 0

  /** `everyMs`: how often at most, for what is costly to draw. */
  constructor(everyMs = 0) {
    this.#everyMs = everyMs
  }

  changed(): void {
    this.version++
    if (this.#scheduled) return
    this.#scheduled = true
    const wait = this.#last + this.#everyMs - performance.now()
    if (document.hidden || wait > 16) setTimeout(() => this.#tell(), Math.max(wait, HIDDEN_MS / 2))
    else requestAnimationFrame(() => this.#tell())
  }

  #tell(): void {
    this.#scheduled = false
    this.#last = performance.now()
    for (const listener of [...this.#listeners]) listener()
  }

  listen(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

/** Renders the component again when one of the signals changes. */
export function useSignals(...signals: readonly Signal[]): void {
  const [, render] = useState(0)
  useEffect(() => {
    const ends = signals.map((signal) => signal.listen(() => render((count) => count + 1)))
    return () => {
      for (const end of ends) end()
    }
  }, signals)
}
