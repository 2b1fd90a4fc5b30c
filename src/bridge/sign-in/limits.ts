import { addressGroup, isLoopbackAddress } from '../../kernel/address.ts'
import { type Clock, type MonotonicMs, plusMs } from '../../kernel/clock.ts'
import { putNewest } from '../../kernel/newest.ts'
import type { KnownAddress } from '../ports.ts'
import type { SignInSettings } from '../settings.ts'

/** A refusal for a while that begins with the last wrong password. */
export interface ShutOut {
  readonly whom: 'name at address' | 'address' | 'name'
  readonly failures: number
  readonly seconds: number
}

interface Tally {
  failures: number
  lastAt: MonotonicMs
  refusedUntil: MonotonicMs
  /** Is true for being wrong too often, not for the growing wait. */
  shutOut: boolean
}

/** Wrong passwords that cost nothing but the answer: people mistype. */
const FREE_FAILURES = 2
const FIRST_DELAY_MS = 1000
const MAX_DELAY_MS = 60_000
/** One address guessing at many names, many addresses guessing at one: this many times `maxFailures`. */
const WIDER = 10
const MAX_TALLIES = 10_000
/** Addresses of a name that have signed in: a person has few. */
const MAX_KNOWN = 16
/** An address that is used every day is stored anew once a day. */
const REFRESH_MS = 86_400_000
const MAX_NAMES = 1000

/**
 * Slows down guessing at passwords of principals. Limbs are not concerned: their keys are long, a wrong one
 * makes a candidate and no failure, and so nobody can lock a device out. Whoever guesses at a name from an
 * address shuts out that name from that address, and no other name; an address that guesses at many names is
 * shut out of all; a name that is guessed at from many addresses opens only to those it was known at.
 */
export class SignInLimits {
  readonly #clock: Clock
  readonly #settings: SignInSettings
  /** Oldest failure first. */
  readonly #tallies = new Map<string, Tally>()
  /** The wall time at which each was stored last, by name and address. */
  readonly #known = new Map<string, Map<string, number>>()
  readonly #remember: (known: KnownAddress) => void

  /** `remember`: an address that is to be known after a restart too. */
  constructor(
    clock: Clock,
    settings: SignInSettings,
    remember: (known: KnownAddress) => void = () => undefined,
  ) {
    this.#remember = remember
    this.#clock = clock
    this.#settings = settings
  }

  /** Names, addresses and pairs of both that are remembered. */
  get size(): number {
    return this.#tallies.size
  }

  /** Milliseconds until a password of this name from this address is looked at again; 0: now. */
  waitMs(name: string, address: string): number {
    const group = addressGroup(address)
    const now = this.#clock.monotonicMs()
    const keys = [pairKey(name, group)]
    if (!isLoopbackAddress(address)) keys.push(addressKey(group))
    if (!this.#known.get(name)?.has(group)) keys.push(nameKey(name))
    return Math.max(0, ...keys.map((key) => (this.#tallies.get(key)?.refusedUntil ?? now) - now))
  }

  /** Counts a wrong password, and returns whom it shuts out that was not before. */
  failed(name: string, address: string): readonly ShutOut[] {
    const group = addressGroup(address)
    const { maxFailedSignIns: maxFailures } = this.#settings
    const begun = [this.#count('name at address', pairKey(name, group), maxFailures, true)]
    // Behind a proxy on this machine everybody has this address.
    if (!isLoopbackAddress(address)) {
      begun.push(this.#count('address', addressKey(group), maxFailures * WIDER, false))
    }
    begun.push(this.#count('name', nameKey(name), maxFailures * WIDER, false))
    return begun.filter((each) => each !== undefined)
  }

  succeeded(name: string, address: string): void {
    const group = addressGroup(address)
    this.#tallies.delete(pairKey(name, group))
    const at = this.#clock.wallMs()
    const storedAt = this.#known.get(name)?.get(group)
    const isStale = storedAt === undefined || Math.abs(at - storedAt) >= REFRESH_MS
    this.knows({ name, address: group, usedAt: isStale ? at : storedAt })
    if (isStale) this.#remember({ name, address: group, usedAt: at })
  }

  /** Takes in an address, already a group, that a name has signed in from. */
  knows({ name, address, usedAt }: KnownAddress): void {
    const known = this.#known.get(name) ?? new Map<string, number>()
    putNewest(known, address, usedAt, MAX_KNOWN)
    this.#known.delete(name)
    this.#known.set(name, known)
    if (this.#known.size > MAX_NAMES) deleteOldest(this.#known, MAX_NAMES / 10)
  }

  #count(whom: ShutOut['whom'], key: string, max: number, grows: boolean): ShutOut | undefined {
    const now = this.#clock.monotonicMs()
    const seconds = this.#settings.failedSignInSeconds
    const before = this.#tallies.get(key)
    const failures = (before && now - before.lastAt < seconds * 1000 ? before.failures : 0) + 1
    const shutOut = failures >= max
    const delay = shutOut ? seconds * 1000 : grows ? delayMs(failures) : 0
    // Anew at the end: the oldest is the first to be forgotten.
    this.#tallies.delete(key)
    this.#tallies.set(key, { failures, lastAt: now, refusedUntil: plusMs(now, delay), shutOut })
    if (this.#tallies.size > MAX_TALLIES) deleteOldest(this.#tallies, MAX_TALLIES / 10)
    const goesOn = before?.shutOut === true && now < before.refusedUntil
    return shutOut && !goesOn ? { whom, failures, seconds } : undefined
  }
}

function delayMs(failures: number): number {
  const over = failures - FREE_FAILURES
  return over <= 0 ? 0 : Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (over - 1))
}

// No name and no address has a space in it.
function pairKey(name: string, group: string): string {
  return `${name} ${group}`
}

function addressKey(group: string): string {
  return ` ${group}`
}

function nameKey(name: string): string {
  return `${name} `
}

/** Many at once: to find the first of a map whose oldest entries were deleted one by one costs a walk each time. */
function deleteOldest(
  all: { keys(): IterableIterator<string>; delete(key: string): unknown },
  count: number,
): void {
  let left = count
  for (const key of all.keys()) {
    if (left-- <= 0) return
    all.delete(key)
  }
}
