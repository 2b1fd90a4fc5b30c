import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { AedesClient } from './aedes-internals.ts'
import { within } from './gate.ts'
import { RareLine } from './rare-line.ts'
import { MqttSession, type Peer, type SessionWorld } from './session.ts'

/** Every open connection, signed in or not, known by object identity. */
export class Connections {
  readonly #world: SessionWorld
  readonly #sessions = new Set<MqttSession>()
  readonly #perAddress = new Map<string, number>()
  readonly #full: RareLine
  #refusing = false

  constructor(world: SessionWorld) {
    this.#world = world
    this.#full = new RareLine(world.clock)
  }

  attach(conn: Duplex | Socket, peer: Peer): void {
    const { counters, broker } = this.#world
    const reason = this.#objection(peer)
    if (reason !== undefined) {
      if (reason !== 'stopping') {
        counters.refused[reason]++
        this.#full.say((count) =>
          this.#world.log.warn({ address: peer.address, reason, count }, 'too many connections'),
        )
      }
      conn.on('error', () => undefined)
      conn.destroy()
      return
    }
    const session = new MqttSession(this.#world, conn, peer)
    this.#count(session)
    session.bind(broker.handle(conn) as unknown as AedesClient<MqttSession>)
    // A connection may be gone before it came here; its `close` has been.
    if (conn.destroyed) conn.emit('close')
  }

  /** New connections are closed at once. */
  refuse(): void {
    this.#refusing = true
  }

  /** Resolves when every reader has been sent all that waits for its acknowledgements, or is gone. */
  async drained(): Promise<void> {
    const open = [...this.#sessions].filter((session) => session.opened)
    await Promise.all(
      open.map((session) => new Promise<void>((done) => session.delivery.outbox.whenRoom(done))),
    )
  }

  /** Ends every session after what it was told; bounded by the time to flush. */
  async endAll(): Promise<void> {
    const { clock, limits } = this.#world
    const all = [...this.#sessions]
    for (const session of all) session.end('stopped', session.opened)
    await within(clock, limits.flushTimeoutMs * 1.5, Promise.all(all.map((session) => session.gone)))
  }

  #objection(peer: Peer): 'stopping' | 'connections' | 'connections_per_address' | undefined {
    const { limits } = this.#world
    if (this.#refusing) return 'stopping'
    // The operator gets in when nobody else does.
    if (peer.local) return undefined
    if (this.#sessions.size >= limits.maxConnections) return 'connections'
    const same = isLoopback(peer.address) ? 0 : (this.#perAddress.get(peer.address) ?? 0)
    return same >= limits.maxConnectionsPerAddress ? 'connections_per_address' : undefined
  }

  #count(session: MqttSession): void {
    const { counters } = this.#world
    const { address, transport } = session.peer
    this.#sessions.add(session)
    this.#perAddress.set(address, (this.#perAddress.get(address) ?? 0) + 1)
    counters.connections[transport]++
    counters.connectionsTotal++
    void session.gone.then(() => {
      this.#sessions.delete(session)
      const left = (this.#perAddress.get(address) ?? 1) - 1
      if (left > 0) this.#perAddress.set(address, left)
      else this.#perAddress.delete(address)
      counters.connections[transport]--
    })
  }
}

/** Proxies, tunnels and simulators come from there. */
function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}
