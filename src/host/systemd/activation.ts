import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Environment } from '../config/env.ts'

/**
 * Listening sockets handed over by the service manager (sd_listen_fds(3)). They are open before the bridge
 * starts and while it restarts, so that a restart refuses nobody and a low port needs no capability.
 */

const SOCKET_NAMES = ['mqtt', 'mqtts', 'http', 'control'] as const
export type SocketName = (typeof SOCKET_NAMES)[number]

export interface InheritedSocket {
  readonly name: SocketName
  /** The descriptor for `server.listen({ fd })`. */
  readonly fd: number
}

export interface Inherited {
  readonly sockets: readonly InheritedSocket[]
  /** The sockets that were handed over and are of no use, each a sentence for the log. */
  readonly problems: readonly string[]
}

/** SD_LISTEN_FDS_START: after standard input, output and error. */
const FIRST_FD = 3
/** Each name may come several times (IPv4 and IPv6). More is a mistake in a unit, not a fleet of listeners. */
const MAX_FDS = 64
const VARIABLES = ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES'] as const

export const NO_SOCKETS: Inherited = { sockets: [], problems: [] }

/**
 * Reads and removes the variables from `env`: a child must not take the sockets for its own. Empty without a
 * service manager, or when they are meant for another process (LISTEN_PID).
 */
export function takeInherited(env: Record<string, string | undefined>, pid: number): Inherited {
  const given = listenVariables(env)
  for (const name of VARIABLES) delete env[name]
  if (given.LISTEN_PID !== String(pid)) return NO_SOCKETS
  const count = Number(given.LISTEN_FDS)
  if (!/^\d{1,6}$/.test(given.LISTEN_FDS ?? '') || count > MAX_FDS) {
    return { sockets: [], problems: [`LISTEN_FDS=${given.LISTEN_FDS}: expected 0 to ${MAX_FDS} sockets`] }
  }
  const names = (given.LISTEN_FDNAMES ?? '').split(':')
  return sorted(Array.from({ length: count }, (_, i) => ({ fd: FIRST_FD + i, name: names[i] ?? '' })))
}

function listenVariables(env: Environment): Partial<Record<(typeof VARIABLES)[number], string | undefined>> {
  return { LISTEN_PID: env.LISTEN_PID, LISTEN_FDS: env.LISTEN_FDS, LISTEN_FDNAMES: env.LISTEN_FDNAMES }
}

function sorted(given: readonly { fd: number; name: string }[]): Inherited {
  const sockets: InheritedSocket[] = []
  const problems: string[] = []
  for (const { fd, name } of given) {
    if (isSocketName(name)) sockets.push({ name, fd })
    else {
      problems.push(
        `the service manager handed over a socket named "${name}", which is none of ${SOCKET_NAMES.join(', ')}: ` +
          'set FileDescriptorName= in its .socket unit',
      )
    }
  }
  return { sockets, problems }
}

function isSocketName(name: string): name is SocketName {
  return SOCKET_NAMES.some((known) => known === name)
}

/** The descriptors of one name, in the order of the unit. */
export function fdsOf(inherited: Inherited, name: SocketName): readonly number[] {
  return inherited.sockets.filter((socket) => socket.name === name).map((socket) => socket.fd)
}

/** The time in which those who wait are let go: they are in the queue of the socket already. */
const REFUSE_MS = 200

/**
 * Closes the connections that wait for a bridge that cannot start. systemd starts the service again and again while
 * anybody waits, and it would fail again and again.
 */
export async function refuseWaiting({ sockets }: Inherited): Promise<void> {
  if (sockets.length === 0) return
  await turnAway(sockets.map(({ fd }) => fd))
  await sleep(REFUSE_MS)
}

/** Closes every connection to these sockets; returns what ends that. */
export async function turnAway(fds: readonly number[]): Promise<() => void> {
  const servers = fds.map((fd) => {
    const server = createServer((connection) => connection.on('error', () => undefined).destroy())
    server.on('error', () => undefined)
    return server.listen({ fd })
  })
  return () => {
    for (const server of servers) server.close()
  }
}
