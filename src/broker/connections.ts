import type { Duplex } from 'node:stream'
import { AddressCounts } from '../kernel/counts.ts'
import { within } from '../kernel/semaphore.ts'
import type { AedesClient } from './aedes-internals.ts'
import type { ConnectionPeer } from './connection.ts'
import { MqttSession } from './session.ts'
import type { SessionContext } from './session-context.ts'

/** Every open connection, signed in or not, known by object identity. */
export class Connections {
  readonly #context: SessionContext
  readonly #sessions = new Set<MqttSession>()
  readonly #perAddress = new AddressCounts()
  /** Connections, those in their handshake included. */
  #entered = 0
  #refusing = false

  constructor(context: SessionContext) {
    this.#context = context
  }

  attach(conn: Duplex, peer: ConnectionPeer): void {
    if (this.enter(conn, peer)) this.open(conn, peer)
  }

  /** Counts a connection until it closes; false when there is no room, and it is closed. */
  enter(conn: Duplex, peer: ConnectionPeer): boolean {
    const { counters } = this.#context
    const reason = this.#objection(peer)
    if (reason !== undefined) {
      if (reason !== 'stopping') {
        counters.refused[reason]++
        this.#context.peerLog.warn(reason, peer.address, { reason }, 'too many connections')
      }
      conn.on('error', () => undefined)
      conn.destroy()
      return false
    }
    this.#count(conn, peer)
    return true
  }

  /** Makes the session of a connection that has entered; over TLS `conn` is the secured one. */
  open(conn: Duplex, peer: ConnectionPeer): void {
    const { broker } = this.#context
    if (this.#refusing) {
      conn.destroy()
      return
    }
    const session = new MqttSession(this.#context, conn, peer)
    this.#sessions.add(session)
    void session.gone.then(() => this.#sessions.delete(session))
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
    await Promise.all(open.map((session) => session.delivery.outbox.room()))
  }

  /** Ends every session after what it was told; bounded by the time to flush. */
  async endAll(): Promise<void> {
    const { clock, limits } = this.#context
    const all = [...this.#sessions]
    for (const session of all) session.end('stopped', session.opened)
    await within(clock, limits.flushTimeoutMs * 1.5, Promise.all(all.map((session) => session.gone)))
  }

  #objection(peer: ConnectionPeer): 'stopping' | 'connections' | 'connections_per_address' | undefined {
    const { limits, lingering } = this.#context
    if (this.#refusing) return 'stopping'
    // The operator gets in when nobody else does.
    if (peer.local) return undefined
    // A session that is over keeps nobody out: its connection goes now, and its place in this turn or the next.
    if (this.#entered >= limits.maxConnections && !lingering.makeRoom()) return 'connections'
    const same = this.#perAddress.of(peer.address)
    if (same < limits.maxConnectionsPerAddress || lingering.makeRoom(peer.address)) return undefined
    return 'connections_per_address'
  }

  #count(conn: Duplex, peer: ConnectionPeer): void {
    const { counters } = this.#context
    const { transport } = peer
    this.#entered++
    const leave = this.#perAddress.enter(peer.address)
    counters.connections[transport]++
    counters.connectionsTotal++
    conn.once('close', () => {
      this.#entered--
      leave()
      counters.connections[transport]--
    })
  }
}
