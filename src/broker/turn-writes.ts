import type { Duplex } from 'node:stream'

/**
 * The bytes of a stream that wait for the end of the turn. One large write fills the kernel's buffer where the same
 * bytes in small ones do not, and `writableLength`, by which messages are shed, shall tell of the reader alone.
 */
const MAX_HELD_BYTES = 8192

let held: Duplex[] = []

/**
 * Holds the small messages that are written to a stream until the turn of the event loop ends, so that a chunk of them
 * costs one call of the kernel for each session, and one TLS record: a call costs more than all that the bridge does
 * for a heartbeat. To be called before a message is written, with the bytes that it will add. Acknowledgements join what
 * is held, and hold nothing themselves: their sender would wait for them, and then send the more at once.
 */
export function holdForTurn(conn: Duplex, bytes: number): void {
  if (conn.writableLength + bytes > MAX_HELD_BYTES) {
    if (conn.writableCorked > 0) conn.uncork()
  } else if (conn.writableCorked === 0) {
    if (held.length === 0) setImmediate(release)
    held.push(conn)
    conn.cork()
  }
}

function release(): void {
  const conns = held
  held = []
  for (const conn of conns) conn.uncork()
}

/** Makes a stream write what is held of it before it is destroyed: acknowledgements of messages that were taken. */
export function writeBeforeDestroy(conn: Duplex): void {
  conn.destroy = destroyWritten
}

function destroyWritten(this: Duplex, error?: Error): Duplex {
  while (!this.destroyed && this.writableCorked > 0) this.uncork()
  return Object.getPrototypeOf(this).destroy.call(this, error)
}
