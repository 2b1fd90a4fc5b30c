import { Duplex } from 'node:stream'

/** The most bytes of one read: as many as Node takes for each of its own. */
const READ_BYTES = 65_536

/** All sockets read into it, one after the other. */
const shared = Buffer.allocUnsafeSlow(READ_BYTES)

/** The fields of a socket of Node 24 in which the option `onread` of `net.connect` is kept. */
const FIELDS = ['kBuffer', 'kBufferCb', 'kBufferGen'] as const

/** Reads chunks, and keeps nothing of some. */
export interface ChunkReader {
  /** Returns whether a chunk of so many bytes may be pushed as it stands in the shared buffer. */
  copies(bytes: number): boolean
}

const KEEPS_ALL: ChunkReader = { copies: () => false }

interface WithHandle {
  readonly _handle?: { readonly useUserBuffer?: (buffer: Buffer) => void }
}

/**
 * Has a socket read into one buffer that all share, and push a copy of what came. Node takes 64 KiB of the C library for
 * each read and gives most of it back at once: what is small and lives on between such pieces keeps a hundred MiB from being
 * given back to the system. `net.connect` has an option for this, `onread`, an accepted socket has none.
 *
 * What `reader` copies is pushed without a copy: who keeps it past that call keeps `ownBytes` of it. False: this is no socket,
 * Node has moved what it takes, or somebody stands before its `read` already (who does comes after this), and all is read as
 * before.
 */
export function shareReads(conn: Duplex, reader = KEEPS_ALL): boolean {
  const { _handle: handle } = conn as WithHandle
  const symbols = Object.getOwnPropertySymbols(conn)
  const [buffer, call, next] = FIELDS.map((name) => symbols.find(({ description }) => description === name))
  if (buffer === undefined || call === undefined || next === undefined) return false
  if (typeof handle?.useUserBuffer !== 'function' || Object.hasOwn(conn, 'read')) return false
  handle.useUserBuffer(shared)
  const pushed = (bytes: number) => {
    const chunk = shared.subarray(0, bytes)
    return conn.push(reader.copies(bytes) ? chunk : ownBytes(chunk))
  }
  Object.assign(conn, { [buffer]: shared, [call]: pushed, [next]: null })
  // Those of a socket with `onread` read on, however much waits in the stream: there is nothing in it then.
  const { read: take, pause, resume } = Duplex.prototype
  Object.assign(conn, { read: take, pause, resume })
  return true
}

/** Returns the chunk, or a copy of one that the next read writes over. */
export function ownBytes(chunk: Buffer): Buffer {
  if (chunk.buffer !== shared.buffer) return chunk
  // Not of Node's pool, where a few bytes would keep a whole slab of it.
  const own = Buffer.allocUnsafeSlow(chunk.length)
  chunk.copy(own)
  return own
}
