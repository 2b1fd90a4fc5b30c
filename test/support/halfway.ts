import { once } from 'node:events'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { connect } from 'node:tls'

/**
 * Shakes hands of TLS 1.2 up to the answer to the server's first flight, and keeps that back. Resolves with a function that sends it;
 * when the connection has ended before, with one that does nothing.
 */
export async function halfway(raw: Socket): Promise<() => void> {
  const { promise, resolve } = Promise.withResolvers<() => void>()
  const kept: Buffer[] = []
  let sent = 0
  const way = new Duplex({
    read: () => undefined,
    write(chunk: Buffer, _encoding, done) {
      done()
      if (sent++ === 0) {
        raw.write(chunk)
        return
      }
      kept.push(chunk)
      resolve(() => raw.write(Buffer.concat(kept)))
    },
  })
  raw.on('data', (chunk) => way.push(chunk))
  const client = connect({ socket: way, rejectUnauthorized: false, maxVersion: 'TLSv1.2' })
  client.on('error', () => undefined)
  const closed = once(raw, 'close').then(() => () => undefined)
  return await Promise.race([promise, closed])
}
