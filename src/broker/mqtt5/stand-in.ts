import type { Duplex } from 'node:stream'

/**
 * Makes what Aedes takes for the connection of a client that speaks MQTT 5. Everything is the connection itself but
 * `write`, which is handed what Aedes writes as MQTT 3.1.1.
 */
export function standInFor(conn: Duplex, write: (chunk: Buffer) => void): Duplex {
  const written = (chunk: Buffer | string) => {
    write(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)
    return !conn.writableNeedDrain
  }
  return new Proxy(conn, {
    get(target, name) {
      if (name === 'write') return written
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
    set: (target, name, value) => Reflect.set(target, name, value, target),
  })
}

/** Makes what Aedes takes for a connection of which all is over but the connection itself. */
export function leftOpen(conn: Duplex): Duplex {
  return new Proxy(conn, {
    get(target, name, proxy) {
      if (name === 'destroy') return () => proxy
      if (name === 'write') return () => true
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** Whole packets of what Aedes writes in pieces. They are short: acknowledgements and no messages. */
export class PacketCollector {
  #rest: Buffer = Buffer.alloc(0)
  readonly #packet: (packet: Buffer, body: number) => void

  constructor(packet: (packet: Buffer, body: number) => void) {
    this.#packet = packet
  }

  add(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    for (;;) {
      const bounds = boundsOf(this.#rest)
      if (bounds === undefined || bounds.end > this.#rest.length) return
      const packet = this.#rest.subarray(0, bounds.end)
      this.#rest = this.#rest.subarray(bounds.end)
      this.#packet(packet, bounds.body)
    }
  }
}

function boundsOf(bytes: Buffer): { body: number; end: number } | undefined {
  let length = 0
  for (let at = 1; at < 5; at++) {
    const byte = bytes[at]
    if (byte === undefined) return undefined
    length += (byte & 0x7f) * 128 ** (at - 1)
    if (byte < 0x80) return { body: at + 1, end: at + 1 + length }
  }
  return undefined
}
