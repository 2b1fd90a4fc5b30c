import { Resolver, lookup as systemLookup } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import type { Clock, MonotonicMs } from '../../kernel/clock.ts'
import { Semaphore } from '../../kernel/semaphore.ts'
import type { Lookup } from './networks.ts'

/**
 * Looks names of limbs up so that one that resolves slowly takes no other with it. The system's own look-up
 * (getaddrinfo) holds one of the four threads that files and passwords share, for as long as it likes; so name servers
 * are asked without it, in parallel, and it is left for what only it knows: mDNS, search domains.
 */

export interface NamesOptions {
  readonly clock: Clock
  /** The name servers; those of the machine when absent. */
  readonly servers?: readonly string[]
  readonly hostsFile?: string
  /** Looks up as getaddrinfo does. */
  readonly system?: Lookup
}

/** Look-ups under way at once, of different names. */
const MAX_UNDER_WAY = 256
/** Threads that the system's look-ups may hold; the others serve files and passwords. */
const MAX_SYSTEM = 2
const MAX_SYSTEM_WAITING = 64
const SERVER_TIMEOUT_MS = 2000
const SERVER_TRIES = 2
/** A name that took so long holds no thread again for a while. */
const SLOW_MS = 2000
const SLOW_PAUSE_MS = 60_000
const MAX_SLOW = 1000
const MAX_HOSTS_BYTES = 1_048_576
/** The answers of a name server about names that somebody else may know. */
const UNKNOWN_THERE = new Set(['ENOTFOUND', 'ENODATA', 'ECONNREFUSED', 'EBADNAME', 'EBADQUERY'])

type Addresses = readonly { readonly address: string }[]

const lookupBySystem: Lookup = (host) => systemLookup(host, { all: true })

export function lookupNames(options: NamesOptions): Lookup {
  const { hostsFile = '/etc/hosts', servers } = options
  const resolver = new Resolver({ timeout: SERVER_TIMEOUT_MS, tries: SERVER_TRIES })
  if (servers) resolver.setServers([...servers])
  const system = systemInTurns(options)
  let underWay = 0
  const find = async (host: string): Promise<Addresses> => {
    const known = await inHosts(hostsFile, host)
    if (known.length > 0) return known
    // Names of one word and of mDNS are never a name server's.
    if (!host.includes('.') || host.endsWith('.local')) return await system(host)
    return (await askServers(resolver, host)) ?? (await system(host))
  }
  return async (host) => {
    if (underWay >= MAX_UNDER_WAY) throw new Error('too many names are looked up at once; try again later')
    underWay++
    try {
      return await find(host)
    } finally {
      underWay--
    }
  }
}

/** The addresses of both families; undefined when the servers do not know the name. */
async function askServers(resolver: Resolver, host: string): Promise<Addresses | undefined> {
  const answers = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)])
  const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  if (found.length > 0) return found.map((address) => ({ address }))
  const failures = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []))
  const failed = failures.find((error) => !UNKNOWN_THERE.has((error as NodeJS.ErrnoException).code ?? ''))
  if (failed !== undefined) throw failed
  return undefined
}

/** Lets the system's look-ups hold some threads only, and names that were slow none for a while. */
function systemInTurns({ clock, system = lookupBySystem }: NamesOptions): Lookup {
  const turns = new Semaphore(MAX_SYSTEM, MAX_SYSTEM_WAITING)
  const slowUntil = new Map<string, MonotonicMs>()
  const timed = async (host: string): Promise<Addresses> => {
    const began = clock.monotonicMs()
    try {
      return await system(host)
    } finally {
      const now = clock.monotonicMs()
      slowUntil.delete(host)
      if (slowUntil.size >= MAX_SLOW) slowUntil.clear()
      if (now - began >= SLOW_MS) slowUntil.set(host, (now + SLOW_PAUSE_MS) as MonotonicMs)
    }
  }
  return async (host) => {
    const until = slowUntil.get(host)
    if (until !== undefined && clock.monotonicMs() < until)
      throw new Error('its name was looked up too slowly')
    const found = await turns.run(() => timed(host))
    if (found === undefined) throw new Error('too many names are looked up at once; try again later')
    return found
  }
}

/** Returns the addresses of a name in a file in the form of /etc/hosts. */
async function inHosts(file: string, host: string): Promise<Addresses> {
  const name = host.toLowerCase()
  const text = await readFile(file, 'utf8').catch(() => '')
  return text
    .slice(0, MAX_HOSTS_BYTES)
    .split('\n')
    .map((line) => line.split('#', 1)[0]?.trim().split(/\s+/) ?? [])
    .filter(
      ([address = '', ...names]) => isIP(address) !== 0 && names.some((each) => each.toLowerCase() === name),
    )
    .map(([address = '']) => ({ address }))
}
