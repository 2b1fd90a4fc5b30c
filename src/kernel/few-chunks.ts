import type { Duplex } from 'node:stream'

/** The chunks that wait in a connection; beyond, it is not read. Each costs some hundreds of bytes, however small it is. */
export const MAX_WAITING_CHUNKS = 32

/**
 * Has no more than some chunks wait in a connection that nobody reads now. Node stops reading a socket when 64 KiB wait:
 * a peer that sends single bytes to a connection that is held back would have 65,536 objects made of them. What is not
 * read waits at the peer.
 */
export function keepFewChunks(conn: Duplex): void {
  const { push, read, _read } = conn
  let waiting = 0
  /** The stream has asked its source for more meanwhile. */
  let isWanted = false
  conn.push = (chunk: unknown, encoding?: BufferEncoding) => {
    const takesMore = push.call(conn, chunk, encoding)
    waiting = conn.readableLength === 0 ? 0 : waiting + 1
    return takesMore && waiting < MAX_WAITING_CHUNKS
  }
  conn._read = (size: number) => {
    if (waiting < MAX_WAITING_CHUNKS) _read.call(conn, size)
    else isWanted = true
  }
  conn.read = (size?: number) => {
    const chunk: unknown = read.call(conn, size)
    if (conn.readableLength > 0) return chunk
    waiting = 0
    if (isWanted) {
      isWanted = false
      _read.call(conn, conn.readableHighWaterMark)
    }
    return chunk
  }
}
