import { Counts } from '../kernel/counts.ts'

/** The most responses of a kind that are open for one principal, and for all. */
export interface PlaceBounds {
  readonly ofPrincipal: number
  readonly inAll: number
}

/** Streams of events. A stream is a dashboard; more of one principal are tabs that somebody forgot. */
export const EVENT_STREAMS: PlaceBounds = { ofPrincipal: 16, inAll: 100 }
/** Responses of `/mcp`. */
export const MCP_RESPONSES: PlaceBounds = { ofPrincipal: 64, inAll: 300 }

/** Counts the responses that are not over. */
export class OpenPlaces {
  readonly #bounds: PlaceBounds
  readonly #ofPrincipal = new Counts()
  #inAll = 0

  constructor(bounds: PlaceBounds) {
    this.#bounds = bounds
  }

  /** Says what there is too much of, in words with `kind` in them; undefined: there is room for another one. */
  full(principal: string, kind: string): string | undefined {
    const own = this.#ofPrincipal.of(principal)
    const { ofPrincipal, inAll } = this.#bounds
    if (own < ofPrincipal && this.#inAll < inAll) return undefined
    return `there are ${own} ${kind} of ${principal} and ${this.#inAll} in all (at most ${ofPrincipal} and ${inAll})`
  }

  enter(principal: string): void {
    this.#ofPrincipal.add(principal)
    this.#inAll++
  }

  leave(principal: string): void {
    this.#ofPrincipal.remove(principal)
    this.#inAll--
  }
}
