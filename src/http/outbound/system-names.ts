import { execFile } from 'node:child_process'
import { lookup as systemLookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { Semaphore } from '../../kernel/semaphore.ts'
import type { Addresses } from './name-servers.ts'

/**
 * Looks a name up as the system does, which knows mDNS and search domains, in a program of its own. The system's own
 * look-up (getaddrinfo) holds one of the four threads that files and passwords share, for as long as it likes, and nobody
 * can end it; a program can be ended.
 */

/** The time that mDNS takes for a name that nobody has. */
const LOOKUP_MS = 5000
const MAX_OUTPUT_BYTES = 65_536
/** The exit code of getent for a name that is not known. */
const UNKNOWN = 2
/** Variables that the library of C reads for a look-up. */
const READ = ['PATH', 'LOCALDOMAIN', 'RES_OPTIONS']
/** Threads that look-ups may hold where there is no such program; the others serve files and passwords. */
const MAX_THREADS = 2
const MAX_WAITING = 64

const threads = new Semaphore(MAX_THREADS, MAX_WAITING)

export async function lookupBySystem(host: string): Promise<Addresses> {
  // It would be an option.
  if (host.startsWith('-')) throw unknownName(host)
  return (await byProgram(host)) ?? (await byThread(host))
}

/** Resolves with undefined where there is no such program. */
function byProgram(host: string): Promise<Addresses | undefined> {
  const options = {
    timeout: LOOKUP_MS,
    killSignal: 'SIGKILL',
    maxBuffer: MAX_OUTPUT_BYTES,
    env: ownEnv(),
  } as const
  return new Promise((found, failed) => {
    execFile('getent', ['ahosts', host], options, (error, output) => {
      if (error === null) found(addressesIn(output))
      else if (error.code === 'ENOENT') found(undefined)
      else if (error.killed) failed(new Error(`its name was not found within ${LOOKUP_MS / 1000} s`))
      else failed(error.code === UNKNOWN ? unknownName(host) : new Error('its name cannot be looked up'))
    })
  })
}

async function byThread(host: string): Promise<Addresses> {
  const found = await threads.run(() => systemLookup(host, { all: true }))
  if (found === undefined) throw new Error('too many names are looked up at once; try again later')
  return found
}

function ownEnv(): NodeJS.ProcessEnv {
  const known = READ.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]))
  return Object.fromEntries(known)
}

/** Each address stands there once for each kind of socket. */
function addressesIn(output: string): Addresses {
  const addresses = output.split('\n').map((line) => line.split(/\s/, 1)[0] ?? '')
  return [...new Set(addresses)].filter((address) => isIP(address) !== 0).map((address) => ({ address }))
}

function unknownName(host: string): Error {
  return Object.assign(new Error(`there is no ${host}`), { code: 'ENOTFOUND' })
}
