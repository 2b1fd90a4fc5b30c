import { addressGroup, isLoopbackAddress } from './address.ts'

/** Counts how many each name has of something; a name that has none takes no memory. */
export class Counts {
  readonly #counts = new Map<string, number>()

  of(name: string): number {
    return this.#counts.get(name) ?? 0
  }

  add(name: string, change = 1): void {
    const count = this.of(name) + change
    if (count > 0) this.#counts.set(name, count)
    else this.#counts.delete(name)
  }

  remove(name: string): void {
    this.add(name, -1)
  }
}

/**
 * Counts what is open from each address. The addresses of one IPv6 network are one, because its owner chooses among
 * them freely; loopback is never counted, because proxies, tunnels and simulators come from there.
 */
export class AddressCounts {
  readonly #counts = new Counts()

  of(address: string): number {
    return this.#counts.of(addressGroup(address))
  }

  /** Counts one in; the returned function counts it out, once. */
  enter(address: string): () => void {
    if (isLoopbackAddress(address)) return () => {}
    const group = addressGroup(address)
    this.#counts.add(group)
    let over = false
    return () => {
      if (!over) this.#counts.remove(group)
      over = true
    }
  }
}
