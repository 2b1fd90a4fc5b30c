import { useEffect, useState } from 'preact/hooks'

/** Hidden pages draw no frames, and their title still has to change. */
const HIDDEN_MS = 200
const FRAME_MS = 16

/**
 * Tells listeners that something changed, once for each frame however often it changed: a thousand messages in a second
 * are sixty renderings at most.
 */
export class Signal {
  readonly #listeners = new Set<() => void>()
  readonly #everyMs: number
  #scheduled = false
  #last = 0
  #late: ReturnType<typeof setTimeout> | undefined
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
    // Beside a frame too: a page that is hidden before its next frame draws none, perhaps for hours.
    this.#late = setTimeout(() => this.#tell(), Math.max(wait, HIDDEN_MS / 2))
    if (!document.hidden && wait <= FRAME_MS) requestAnimationFrame(() => this.#tell())
  }

  #tell(): void {
    if (!this.#scheduled) return
    this.#scheduled = false
    clearTimeout(this.#late)
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
  const rendered = signals.map(({ version }) => version)
  useEffect(() => {
    const again = () => render((count) => count + 1)
    const ends = signals.map((signal) => signal.listen(again))
    // What changed since the rendering may have been told before anybody listened.
    if (signals.some(({ version }, index) => version !== rendered[index])) again()
    return () => {
      for (const end of ends) end()
    }
  }, signals)
}
