import { connect, type Socket } from 'node:net'
import type { Clock } from '../../kernel/clock.ts'
import type { Resolved } from './networks.ts'

/** A connection to whichever address of a limb answers first, in the manner of RFC 8305 (Happy Eyeballs). */

/** The time that an address has before the next one is tried beside it; RFC 8305, section 5. */
const NEXT_MS = 250

export interface Race {
  /** Ends every attempt; nothing is told any more. */
  giveUp(): void
}

export interface RaceOptions {
  /** The addresses in the order in which to try them; not empty. */
  readonly addresses: readonly Resolved[]
  readonly port: number
  readonly clock: Clock
  /** The system's own when absent. */
  readonly open?: (to: Resolved, port: number) => Socket
  /** Nothing was written on the socket yet. */
  readonly connected: (socket: Socket) => void
  /** The error of the first address: the system takes it for the best. */
  readonly failed: (error: unknown) => void
}

const openBySystem = ({ address, family }: Resolved, port: number) => connect({ host: address, port, family })

export function raceToConnect(options: RaceOptions): Race {
  const race = new Attempts(options)
  race.next()
  return race
}

class Attempts implements Race {
  readonly #options: RaceOptions
  readonly #waiting: Resolved[]
  readonly #open = new Set<Socket>()
  #error: unknown
  #cancelTimer = () => {}
  #over = false

  constructor(options: RaceOptions) {
    this.#options = options
    this.#waiting = alternating(options.addresses)
  }

  next(): void {
    this.#cancelTimer()
    const address = this.#waiting.shift()
    if (address === undefined) return
    this.#try(address)
    this.#cancelTimer = this.#options.clock.after(NEXT_MS, () => this.next())
  }

  giveUp(): void {
    this.#over = true
    this.#cancelTimer()
    for (const socket of this.#open) socket.destroy()
    this.#open.clear()
  }

  #try(address: Resolved): void {
    const { open = openBySystem, port } = this.#options
    const socket = open(address, port)
    this.#open.add(socket)
    socket.once('connect', () => this.#won(socket))
    // Stays: what an attempt that was given up still has to say is nobody's error.
    socket.on('error', (error) => this.#lost(socket, error))
  }

  #won(socket: Socket): void {
    if (this.#over) return
    this.#open.delete(socket)
    this.giveUp()
    this.#options.connected(socket)
  }

  #lost(socket: Socket, error: unknown): void {
    if (this.#over) return
    this.#error ??= error
    this.#open.delete(socket)
    if (this.#waiting.length > 0) this.next()
    else if (this.#open.size === 0) {
      this.giveUp()
      this.#options.failed(this.#error)
    }
  }
}

/** The families take turns, beginning with the first: one that leads nowhere holds up the other only once. */
export function alternating(addresses: readonly Resolved[]): Resolved[] {
  const first = addresses.filter(({ family }) => family === addresses[0]?.family)
  const others = addresses.filter(({ family }) => family !== addresses[0]?.family)
  return addresses.flatMap((_, i) => [first[i], others[i]].filter((each) => each !== undefined))
}
