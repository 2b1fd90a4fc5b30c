import { lstatSync, unlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { acceptTurns } from '../kernel/accept-turns.ts'
import { hostAndPort } from '../kernel/address.ts'
import { StartError } from '../kernel/errors.ts'
import { makeFolder } from '../kernel/folders.ts'
import { LISTEN_BACKLOG, SOCKET_PATH_MAX_BYTES } from '../kernel/listening.ts'

/** Accepts connections; an error of listening says what stands in the way, and what to do. */

export interface Listener {
  /** The address in use; a path for a Unix socket. */
  readonly host: string
  /** The port in use, which matters when 0 was asked for; 0 for a Unix socket. */
  readonly port: number
  /** Takes no new connections from now on. */
  close(): Promise<void>
}

export type Accept = (socket: Socket) => void

interface Place {
  readonly where: string
  /** The keys of the configuration where it can be changed. */
  readonly keys: string
}

const PROBE_MS = 1000
const KEEPALIVE_PROBE_MS = 60_000

/** `section`: of the configuration, where host and port stand. */
export async function listenTcp(
  host: string,
  port: number,
  section: 'mqtt' | 'tls',
  accept: Accept,
): Promise<Listener> {
  // Probes find peers that vanished although their keepalive is long.
  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_PROBE_MS })
  server.on('connection', accept)
  acceptTurns.follow(server)
  const place = { where: hostAndPort({ host, port }), keys: `${section}.host, ${section}.port` }
  await opened(server, place, () => server.listen({ host, port, backlog: LISTEN_BACKLOG }))
  return listenerOf(server)
}

/**
 * A listening socket that the service manager opened. It stays open there when this one is closed: who comes
 * meanwhile waits for the next bridge.
 */
export async function listenInherited(fd: number, accept: Accept): Promise<Listener> {
  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_PROBE_MS })
  server.on('connection', accept)
  acceptTurns.follow(server)
  const place = { where: `the inherited socket ${fd}`, keys: 'its .socket unit' }
  await opened(server, place, () => server.listen({ fd }, LISTEN_BACKLOG))
  return listenerOf(server)
}

/** `mode`: of the socket's file; whoever may write to it is let in. */
export async function listenUnix(path: string, mode: number, accept: Accept): Promise<Listener> {
  if (Buffer.byteLength(path) > SOCKET_PATH_MAX_BYTES) {
    throw new StartError(
      `cannot listen on ${path}: a socket path has at most ${SOCKET_PATH_MAX_BYTES} bytes; choose a shorter one (control.socket)`,
    )
  }
  const place = { where: path, keys: 'control.socket' }
  try {
    makeFolder(dirname(path), 0o750)
    await removeStale(path)
  } catch (error) {
    throw explained(place, error as NodeJS.ErrnoException)
  }
  const server = createServer(accept)
  await opened(server, place, () => {
    // The file has its mode from the first moment on.
    const before = process.umask(0o777 & ~mode)
    try {
      server.listen({ path })
    } finally {
      process.umask(before)
    }
  })
  return listenerOf(server)
}

function listenerOf(server: Server): Listener {
  const address = server.address()
  const tcp = typeof address === 'object' && address !== null ? address : undefined
  return {
    host: tcp?.address ?? (typeof address === 'string' ? address : ''),
    port: tcp?.port ?? 0,
    close: () =>
      new Promise((resolve) => {
        // Node waits for the connections too; they are ended by their owner.
        server.close()
        resolve()
      }),
  }
}

async function opened(server: Server, place: Place, listen: () => void): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(explained(place, error)))
    server.once('listening', resolve)
    listen()
  })
  server.removeAllListeners('error')
  // Out of file descriptors, say: the listener stays, the next connection may work.
  server.on('error', () => undefined)
}

const HINTS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there; stop it, or choose another port or path',
  EACCES: 'permission denied; choose a port above 1023 or a folder that this user may write to',
  EPERM: 'not permitted; choose another port or a folder that this user may write to',
  EADDRNOTAVAIL: 'this machine has no such address; use one of its own, 127.0.0.1, or 0.0.0.0 for all',
  ENOTFOUND: 'the host name is unknown; use an IP address',
  ENOENT: 'the folder does not exist',
  EROFS: 'the file system is read-only; choose another folder',
  EBADF: 'it is no open descriptor',
  EINVAL: 'it is no listening stream socket',
  ENOTDIR: 'a part of the path is a file, not a folder',
  EEXIST: 'a part of the path is a file, not a folder',
}

function explained({ where, keys }: Place, error: NodeJS.ErrnoException): StartError {
  const hint = HINTS[error.code ?? ''] ?? error.message
  return new StartError(`cannot listen on ${where}: ${hint} (${keys})`, { cause: error })
}

/** Removes a socket that a dead process left behind; never a file of another kind, never one that answers. */
async function removeStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isSocket()) throw new Error('there is a file that is no socket; remove it or choose another path')
  if (await answers(path)) {
    throw Object.assign(new Error('in use'), { code: 'EADDRINUSE' })
  }
  unlinkSync(path)
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    const done = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => done(true))
    // Refused: nobody is behind it. Any other error: leave it alone.
    socket.once('error', (error: NodeJS.ErrnoException) => done(error.code !== 'ECONNREFUSED'))
    socket.setTimeout(PROBE_MS, () => done(true))
  })
}
