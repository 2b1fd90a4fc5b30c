import type { IncomingMessage } from 'node:http'
import { Gathered } from './outbound/gathered.ts'

/** The bytes of a body that is not read yet; beyond, its connection is not read. A chunk of the connection may come on top. */
const MAX_UNREAD_BYTES = 16_384

/**
 * Has what comes of a body before anybody reads it kept in one piece. Node makes an object of each chunk of a body, and
 * stops at 64 KiB: behind an event stream, or in line behind other requests, 64 KiB in chunks of one byte wait as thirty
 * megabytes for as long as the client likes.
 */
export function gatherUnread(request: IncomingMessage): void {
  const { push, _read } = request
  let unread: Gathered | undefined
  /** The stream has asked for more and got nothing yet. */
  let isWanted = false
  const flush = () => {
    const bytes = unread?.bytes()
    unread = undefined
    return bytes !== undefined && push.call(request, bytes)
  }
  request.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (chunk === null) {
      flush()
      return push.call(request, null)
    }
    const isRead = unread === undefined && (isWanted || request.readableFlowing === true)
    isWanted = false
    if (isRead) return push.call(request, chunk, encoding)
    unread ??= new Gathered()
    unread.push(chunk as Buffer)
    return unread.length < MAX_UNREAD_BYTES
  }
  request._read = (size: number) => {
    isWanted = unread === undefined
    flush()
    _read.call(request, size)
  }
}
