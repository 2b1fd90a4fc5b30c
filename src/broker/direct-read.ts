import type { Duplex } from 'node:stream'

/**
 * Hands what a connection receives straight to `take` while its reader `isIdle`: Node's way through the stream's
 * buffer (an event in the next tick, and two reads) costs a tenth of a heartbeat. What comes while the reader works, or
 * is held back, goes that way, so that its order and its bounds stay.
 */
export function readDirectly(conn: Duplex, isIdle: () => boolean, take: (chunk: Buffer) => void): void {
  const { push } = conn
  conn.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (!Buffer.isBuffer(chunk) || conn.readableLength > 0 || !isIdle())
      return push.call(conn, chunk, encoding)
    take(chunk)
    return true
  }
}
