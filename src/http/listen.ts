import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Log } from '../bridge/ports.ts'
import { hostAndPort } from '../kernel/address.ts'
import { StartError } from '../kernel/errors.ts'
import { LISTEN_BACKLOG } from '../kernel/listening.ts'

/**
 * Listens for HTTP. One server of Node's listens at one place; at each further one a plain listener hands its connections
 * on, so that the same bounds, turns and proxies stand before all of them.
 */

export interface ListenOptions {
  readonly host: string
  /** The port; 0: any free one. */
  readonly port: number
  /** Listening sockets of the service manager's, in place of host and port if there are any. */
  readonly inheritedFds?: readonly number[] | undefined
  /** Returns the addresses of `localhost`; absent: those that the system names. */
  readonly loopbacks?: () => Promise<readonly string[]>
  readonly log: Log
}

/** The name that stands for both loopback addresses of the machine. */
const BOTH_LOOPBACKS = 'localhost'

const LISTEN_HINTS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is in use by another program (another bridge?)',
  EACCES: 'needs rights that this user does not have',
  EADDRNOTAVAIL: 'is not an address of this machine',
  ENOTFOUND: 'is not a name that resolves',
}

export async function listen(app: FastifyInstance, options: ListenOptions): Promise<void> {
  const { host, port, inheritedFds: [first, ...more] = [] } = options
  try {
    if (first !== undefined) await listenInherited(app, first, more)
    else if (host.toLowerCase() === BOTH_LOOPBACKS) await listenBoth(app, options)
    else await app.listen({ host, port, backlog: LISTEN_BACKLOG })
  } catch (error) {
    await app.close()
    const hint = LISTEN_HINTS[(error as NodeJS.ErrnoException).code ?? '']
    if (hint === undefined) throw error
    throw new StartError(
      `HTTP cannot listen: ${host} port ${port} ${hint}; set http.host and http.port, or http.enabled: false`,
      { cause: error },
    )
  }
}

/** Fastify's own `listen` would open a server of its own for the second address, with none of our bounds. */
async function listenBoth(app: FastifyInstance, options: ListenOptions): Promise<void> {
  const { port, loopbacks = loopbacksOfSystem, log } = options
  const [first = '127.0.0.1', ...more] = await loopbacks()
  await app.listen({ host: first, port, backlog: LISTEN_BACKLOG })
  const bound = app.server.address()
  const samePort = typeof bound === 'object' && bound !== null ? bound.port : port
  for (const address of more) {
    await opened(handingOn(app), (server) =>
      server.listen({ host: address, port: samePort, backlog: LISTEN_BACKLOG }),
    ).catch((error: NodeJS.ErrnoException) => {
      // A machine without IPv6 often has its name for it all the same.
      const where = hostAndPort({ host: address, port: samePort })
      log.warn({ err: error }, `http: cannot listen on ${where} too; ${first} is there`)
    })
  }
}

async function loopbacksOfSystem(): Promise<readonly string[]> {
  return (await lookup(BOTH_LOOPBACKS, { all: true })).map(({ address }) => address)
}

/** Fastify's own `listen` knows no descriptors. */
async function listenInherited(app: FastifyInstance, fd: number, more: readonly number[]): Promise<void> {
  await app.ready()
  await opened(app.server, (server) => server.listen({ fd }, LISTEN_BACKLOG))
  for (const each of more)
    await opened(handingOn(app), (server) => server.listen({ fd: each }, LISTEN_BACKLOG))
}

function handingOn(app: FastifyInstance): Server {
  const server = createServer({ noDelay: true }, (socket: Socket) => app.server.emit('connection', socket))
  // As it is by then: the limits may be others.
  Object.defineProperty(server, 'maxConnections', { get: () => app.server.maxConnections })
  app.server.on('close', () => server.close())
  return server
}

async function opened(server: Server, open: (server: Server) => void): Promise<void> {
  const listening = once(server, 'listening')
  open(server)
  await listening
}
