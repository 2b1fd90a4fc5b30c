import type { Clock } from './clock.ts'

/** Runs at most so many works at once, lets at most so many wait, and each has an end. */
export class Semaphore {
  #running = 0
  readonly #waiting: (() => void)[] = []
  readonly #maxRunning: number
  readonly #maxWaiting: number

  constructor(maxRunning: number, maxWaiting: number) {
    this.#maxRunning = maxRunning
    this.#maxWaiting = maxWaiting
  }

  /** Shows whether any work runs; none waits while none does. */
  get isBusy(): boolean {
    return this.#running > 0
  }

  /** Returns undefined when too many wait already. */
  async run<T>(work: () => Promise<T>): Promise<T | undefined> {
    if (this.#running >= this.#maxRunning) {
      if (this.#waiting.length >= this.#maxWaiting) return undefined
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    } else {
      this.#running++
    }
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running--
      else next()
    }
  }
}

/** Works with the same key run one after the other; others do not wait for them. */
export class KeyedMutex {
  readonly #locks = new Map<string, { gate: Semaphore; users: number }>()
  readonly #maxWaiting: number

  constructor(maxWaiting: number) {
    this.#maxWaiting = maxWaiting
  }

  async run<T>(key: string, work: () => Promise<T>): Promise<T | undefined> {
    const entry = this.#locks.get(key) ?? { gate: new Semaphore(1, this.#maxWaiting), users: 0 }
    this.#locks.set(key, entry)
    entry.users++
    try {
      return await entry.gate.run(work)
    } finally {
      if (--entry.users === 0) this.#locks.delete(key)
    }
  }
}

/** The answer of `work`, or undefined when it takes longer than `ms`. */
export async function within<T>(clock: Clock, ms: number, work: Promise<T>): Promise<T | undefined> {
  let cancel = () => {}
  const late = new Promise<undefined>((resolve) => {
    cancel = clock.after(ms, () => resolve(undefined))
  })
  try {
    return await Promise.race([work, late])
  } finally {
    cancel()
  }
}
