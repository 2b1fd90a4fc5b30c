import type { Duplex } from 'node:stream'

/**
 * Has `read()` give all that waits in the stream. Aedes reads once for each time that it is told of more, and since Node 26 that gives
 * one chunk: of a packet in two chunks the second one would never be read. Source: the changes of Node 26 to `readable.read()`.
 */
export function readsWhole(conn: Duplex): void {
  const read = conn.read
  conn.read = (size?: number) => {
    const first: unknown = read.call(conn, size)
    // A size is null or undefined when all is asked for.
    if (size != null || conn.readableLength === 0 || !Buffer.isBuffer(first)) return first
    const chunks = [first]
    for (let next: unknown = read.call(conn); Buffer.isBuffer(next); next = read.call(conn)) chunks.push(next)
    return Buffer.concat(chunks)
  }
}
