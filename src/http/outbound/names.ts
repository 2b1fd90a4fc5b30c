import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import type { Clock, MonotonicMs } from '../../kernel/clock.ts'
import { plusMs } from '../../kernel/clock.ts'
import { putNewest } from '../../kernel/newest.ts'
import { Semaphore } from '../../kernel/semaphore.ts'
import { type Addresses, askNameServers } from './name-servers.ts'
import type { Lookup } from './networks.ts'
import { lookupBySystem } from './system-names.ts'

/**
 * Looks names of limbs up so that one that resolves slowly takes no other with it: name servers are asked in parallel,
 * and what only the system knows (mDNS, search domains) it is asked for in programs of its own.
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
/** Look-ups by the system that are under way at once, and that wait. */
const MAX_SYSTEM = 16
const MAX_SYSTEM_WAITING = 64
/** A name that took so long is not asked for again for a while. */
const SLOW_MS = 2000
const SLOW_PAUSE_MS = 60_000
/** A name that was found is not asked for again so soon: a program for each invocation would be dear. */
const KEEP_MS = 10_000
/** Names that are remembered, of each kind. */
const MAX_KNOWN = 1000
const MAX_HOSTS_BYTES = 1_048_576

export function lookupNames(options: NamesOptions): Lookup {
  const { hostsFile = '/etc/hosts' } = options
  const system = systemInTurns(options)
  let underWay = 0
  const find = async (host: string): Promise<Addresses> => {
    const known = await inHosts(hostsFile, host)
    if (known.length > 0) return known
    // Names of one word and of mDNS are never a name server's.
    if (!host.includes('.') || host.endsWith('.local')) return await system(host)
    return (await askNameServers(host, options)) ?? (await system(host))
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

/** Lets the system look a bounded number of names up, names that were slow not for a while, and names just found not again. */
function systemInTurns({ clock, system = lookupBySystem }: NamesOptions): Lookup {
  const turns = new Semaphore(MAX_SYSTEM, MAX_SYSTEM_WAITING)
  const slowUntil = new Map<string, MonotonicMs>()
  const kept = new Map<string, { readonly found: Addresses; readonly until: MonotonicMs }>()
  const timed = async (host: string): Promise<Addresses> => {
    const began = clock.monotonicMs()
    try {
      const found = await system(host)
      putNewest(kept, host, { found, until: plusMs(clock.monotonicMs(), KEEP_MS) }, MAX_KNOWN)
      return found
    } finally {
      const now = clock.monotonicMs()
      if (now - began < SLOW_MS) slowUntil.delete(host)
      else putNewest(slowUntil, host, plusMs(now, SLOW_PAUSE_MS), MAX_KNOWN)
    }
  }
  return async (host) => {
    const known = kept.get(host)
    if (known !== undefined && clock.monotonicMs() < known.until) return known.found
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
