import { Resolver } from 'node:dns/promises'
import type { Clock } from '../../kernel/clock.ts'

/**
 * Asks name servers for the addresses of a host. An answer counts whenever it comes within the time: a server that has to
 * ask others first may take seconds. Each server gets its turn beside those that have not answered, so that one that is
 * away holds up nobody.
 */

export type Addresses = readonly { readonly address: string }[]

export interface NameServersOptions {
  readonly clock: Clock
  /** The name servers; those of the machine, read at each question, when absent. */
  readonly servers?: readonly string[]
}

/** The time for all of it; that of a connection is longer. */
const ALL_MS = 8000
/** The time that a server has before the next one, or it itself, is asked beside it. */
const NEXT_MS = 1000
const MAX_ASKED = 3
/** The time that the other family of addresses has when one is known (RFC 8305 calls it the resolution delay). */
const OTHER_FAMILY_MS = 250
/** The answers of a name server about names that somebody else may know. */
const UNKNOWN_THERE = new Set(['ENOTFOUND', 'ENODATA', 'ECONNREFUSED', 'EBADNAME', 'EBADQUERY'])

/** Resolves with the addresses of both families, undefined when the servers do not know the name. */
export function askNameServers(host: string, options: NameServersOptions): Promise<Addresses | undefined> {
  return new Promise((found, failed) => new Question(host, options, found, failed).ask())
}

class Question {
  readonly #host: string
  readonly #clock: Clock
  readonly #servers: readonly string[]
  readonly #found: (addresses: Addresses | undefined) => void
  readonly #failed: (error: unknown) => void
  readonly #asked: Resolver[] = []
  #open = 0
  #error: unknown
  #over = false
  #cancelNext = () => {}

  constructor(
    host: string,
    { clock, servers }: NameServersOptions,
    found: (addresses: Addresses | undefined) => void,
    failed: (error: unknown) => void,
  ) {
    this.#host = host
    this.#clock = clock
    // Anew each time: a machine that changes its network changes them.
    this.#servers = servers ?? new Resolver().getServers()
    this.#found = found
    this.#failed = failed
  }

  ask(): void {
    this.#cancelNext()
    if (this.#over || this.#asked.length >= MAX_ASKED) return
    const server = this.#servers[this.#asked.length % Math.max(1, this.#servers.length)]
    // One of its own: it forgets nothing that comes late, and has learned no shorter time from names that were quick.
    const resolver = new Resolver({ timeout: ALL_MS - this.#asked.length * NEXT_MS, tries: 1 })
    if (server !== undefined) resolver.setServers([server])
    this.#asked.push(resolver)
    this.#open++
    addressesFrom(resolver, this.#host, this.#clock).then(
      (addresses) => this.#end(() => this.#found(addresses)),
      (error: unknown) => this.#lost(error),
    )
    this.#cancelNext = this.#clock.after(NEXT_MS, () => this.ask())
  }

  #lost(error: unknown): void {
    if (this.#over) return
    this.#error ??= error
    this.#open--
    const others = this.#asked.length < Math.min(MAX_ASKED, this.#servers.length)
    if (others) this.ask()
    else if (this.#open === 0) this.#end(() => this.#failed(this.#error))
  }

  #end(tell: () => void): void {
    if (this.#over) return
    this.#over = true
    this.#cancelNext()
    tell()
    for (const resolver of this.#asked) resolver.cancel()
  }
}

/** The addresses of both families; undefined when the server does not know the name. */
async function addressesFrom(resolver: Resolver, host: string, clock: Clock): Promise<Addresses | undefined> {
  const asked = [resolver.resolve4(host), resolver.resolve6(host)]
  const answers = await bothOrOne(asked, clock)
  const found = answers.flatMap((answer) => (answer?.status === 'fulfilled' ? answer.value : []))
  if (found.length > 0) return found.map((address) => ({ address }))
  const failures = answers.flatMap((answer) => (answer?.status === 'rejected' ? [answer.reason] : []))
  const failed = failures.find((error) => !UNKNOWN_THERE.has((error as NodeJS.ErrnoException).code ?? ''))
  if (failed !== undefined) throw failed
  return undefined
}

type Answer = PromiseSettledResult<string[]>

/** Waits for both answers, and for the second one not long when the first one holds an address. */
async function bothOrOne(
  asked: readonly Promise<string[]>[],
  clock: Clock,
): Promise<readonly (Answer | undefined)[]> {
  const answers: (Answer | undefined)[] = asked.map(() => undefined)
  let cancel = () => {}
  await new Promise<void>((resolve) => {
    const took = (i: number, answer: Answer) => {
      answers[i] = answer
      if (answers.every((each) => each !== undefined)) resolve()
      else if (answer.status === 'fulfilled') cancel = clock.after(OTHER_FAMILY_MS, resolve)
    }
    for (const [i, each] of asked.entries())
      each.then(
        (value) => took(i, { status: 'fulfilled', value }),
        (reason: unknown) => took(i, { status: 'rejected', reason }),
      )
  })
  cancel()
  return answers
}
