import type { Duplex } from 'node:stream'
import { ownBytes } from '../kernel/shared-reads.ts'

export interface DirectReader {
  readonly conn: Duplex
  /** Aedes reads the next chunk when it works at none. */
  readonly client: { readonly _parsingBatch: number }
  readonly guard: { feed(chunk: Buffer): void }
  readonly session: { readonly isGone: boolean }
  /** Holders of the connection: each may keep it from being read; asked for each chunk, so they are no functions of the session. */
  readonly holds: readonly [
    lists: { readonly isWaiting: boolean },
    throttle: { readonly isHolding: boolean; newChunk(): void } | undefined,
    pace: { mayTake(bytes: number): boolean } | undefined,
  ]
}

/**
 * Hands what a connection receives straight to the guard while its reader is idle: Node's way through the stream's
 * buffer (an event in the next tick, and two reads) costs a tenth of a heartbeat. What comes while the reader works, or
 * is held back, goes that way, so that its order and its bounds stay.
 */
export function readDirectly({
  conn,
  client,
  guard,
  session,
  holds: [lists, throttle, pace],
}: DirectReader): void {
  const { push } = conn
  conn.push = (chunk: unknown, encoding?: BufferEncoding) => {
    const isIdle =
      !session.isGone && client._parsingBatch === 0 && !lists.isWaiting && throttle?.isHolding !== true
    if (!Buffer.isBuffer(chunk)) return push.call(conn, chunk, encoding)
    if (!isIdle || conn.readableLength > 0 || pace?.mayTake(chunk.length) === false)
      return push.call(conn, ownBytes(chunk))
    throttle?.newChunk()
    guard.feed(chunk)
    return true
  }
}
