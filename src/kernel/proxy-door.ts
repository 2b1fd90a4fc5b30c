import type { Socket } from 'node:net'
import { unmappedAddress } from './address.ts'
import type { Clock } from './clock.ts'
import { type AllowedNetworks, type Network, networksOf } from './networks.ts'
import { type ProxyHeader, readProxyHeader } from './proxy-header.ts'

export interface ProxyDoorOptions {
  /** The proxies: each of their connections begins with a header. Nobody else is believed one. */
  readonly networks: readonly Network[]
  readonly clock: Clock
  /** A proxy's connection was closed: the proxy's address, and why in words that follow it. */
  readonly refused: (address: string, fault: string) => void
}

/** A proxy writes its header with the first bytes; a lost packet is sent again within this time. */
const HEADER_MS = 5000
/** Connections whose header is awaited. */
const MAX_WAITING = 1000

const announced = Symbol('announced address')
type Announced = Socket & { [announced]?: string; readonly _parent?: Socket | null }

/**
 * Returns the address of the client, without port: the one that its proxy announced if there is one, else that of the
 * connection. Over TLS it stands at the connection below.
 */
export function clientAddressOf(socket: Socket): string {
  const { [announced]: own, _parent, remoteAddress } = socket as Announced
  const below = _parent as Announced | null | undefined
  // A peer that has gone has no address any more; the connection below may remember it.
  return own ?? below?.[announced] ?? unmappedAddress(remoteAddress ?? below?.remoteAddress ?? 'unknown')
}

/** Reads the header of the PROXY protocol from the connections of named proxies, before anybody else reads them. */
export class ProxyDoor {
  readonly #options: ProxyDoorOptions
  readonly #proxies: AllowedNetworks
  readonly #waiting = new Set<Socket>()

  constructor(options: ProxyDoorOptions) {
    this.#options = options
    this.#proxies = networksOf(options.networks)
  }

  /** Calls `open` at once for anybody but a proxy; for a proxy when its header was read. */
  enter(socket: Socket, open: () => void): void {
    const address = unmappedAddress(socket.remoteAddress ?? 'unknown')
    if (!this.#proxies.has(address)) {
      open()
      return
    }
    socket.on('error', () => undefined)
    if (this.#waiting.size >= MAX_WAITING) {
      this.#refuse(socket, address, `has more than ${MAX_WAITING} connections without a header`)
      return
    }
    this.#await(socket, address, (header) => {
      if (header.address !== undefined) (socket as Announced)[announced] = header.address
      open()
    })
  }

  /** Ends the connections whose header is still awaited. */
  close(): void {
    for (const socket of this.#waiting) socket.destroy()
  }

  #await(socket: Socket, address: string, done: (header: ProxyHeader) => void): void {
    let held: Buffer = Buffer.alloc(0)
    const leave = () => {
      this.#waiting.delete(socket)
      cancel()
      socket.off('readable', read)
      socket.off('close', leave)
    }
    const refuse = (fault: string) => {
      leave()
      this.#refuse(socket, address, fault)
    }
    const read = () => {
      for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
        held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
        const header = readProxyHeader(held)
        if (header === 'more') continue
        if ('fault' in header) {
          refuse(header.fault)
          return
        }
        leave()
        if (held.length > header.bytes) socket.unshift(held.subarray(header.bytes))
        // The stream forgets in the next tick that it was read by hand.
        setImmediate(() => done(header))
        return
      }
    }
    const cancel = this.#options.clock.after(HEADER_MS, () =>
      refuse(`sends no header of the PROXY protocol within ${HEADER_MS / 1000} seconds`),
    )
    this.#waiting.add(socket)
    socket.on('close', leave)
    socket.on('readable', read)
  }

  #refuse(socket: Socket, address: string, fault: string): void {
    socket.destroy()
    this.#options.refused(address, fault)
  }
}
