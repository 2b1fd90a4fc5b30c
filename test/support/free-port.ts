import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Linux gives the ports from 32768 on to whatever connects: one that is to be free a while later is none of them. */
const [FIRST, BEYOND] = [10_240, 32_768]

/** Resolves to a port of 127.0.0.1 that nobody listens on. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST, BEYOND)
    const server = createServer().listen(port, '127.0.0.1')
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    )
    if (!isFree) continue
    await new Promise((done) => server.close(done))
    return port
  }
}
