/**
 * The bytes of a body that comes in pieces, in one piece of memory: a million chunks of a byte would be a million objects.
 */
export class Gathered {
  #memory = Buffer.alloc(0)
  #length = 0

  /** The bytes that came. */
  get length(): number {
    return this.#length
  }

  /** The bytes of memory that it takes. */
  get memory(): number {
    return this.#memory.length
  }

  push(chunk: Buffer): void {
    const length = this.#length + chunk.length
    if (length > this.#memory.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.#memory.length, FIRST_BYTES))
      this.#memory.copy(larger, 0, 0, this.#length)
      this.#memory = larger
    }
    chunk.copy(this.#memory, this.#length)
    this.#length = length
  }

  bytes(): Buffer {
    return this.#memory.subarray(0, this.#length)
  }
}

/** Most answers are smaller. */
const FIRST_BYTES = 1024
