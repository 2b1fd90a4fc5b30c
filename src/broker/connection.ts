import type { Duplex } from 'node:stream'
import type { Identity, Log, SessionEnd } from '../bridge/ports.ts'
import type { Clock } from '../kernel/clock.ts'
import { LogThrottle } from '../kernel/log-throttle.ts'
import type { BrokerCounters, LimitName, MqttVersion, Transport } from './counters.ts'
import type { BrokerLimits } from './limits.ts'
import { REASON } from './mqtt5/reasons.ts'
import type { PeerLog } from './peer-log.ts'
import { writeBeforeDestroy } from './turn-writes.ts'

/** Says where a connection comes from, as its listener knows it. */
export interface ConnectionPeer {
  /** IP address without port; `local` for the control socket. */
  readonly address: string
  readonly local: boolean
  readonly transport: Transport
  /** Common name of a client certificate that the listener verified. */
  readonly certificateName?: string | undefined
}

/** A stream whose listener keeps bytes in front of it, such as a WebSocket message that is not whole. */
export interface HoldingStream {
  /** The memory that it holds: objects and buffers, not payloads. */
  readonly heldBytes: number
  /** Bytes that have come and were not looked at; absent: there are never any. */
  readonly waitingBytes?: number
  /** Called when these may have changed. */
  onHeld: (() => void) | undefined
}

export function frontOf(conn: Duplex): HoldingStream | undefined {
  return 'heldBytes' in conn ? (conn as typeof conn & HoldingStream) : undefined
}

/** The part of what sessions share that is needed to speak of one of them. */
export interface ConnectionContext {
  readonly counters: BrokerCounters
  readonly peerLog: PeerLog
  readonly clock: Clock
  readonly log: Log
  readonly limits: Pick<BrokerLimits, 'maxSessionBufferBytes'>
}

/** The identity before CONNECT was judged: nobody, with no rights. */
const NOBODY: Identity = { kind: 'candidate', nodeId: '', key: undefined }

/** Acknowledgements that may wait behind what the peer does not take. */
const MAX_ACKS_BEHIND = 1000

/** A session that repeats itself is written of once in ten seconds, with a count. */
const RARELY = { quietMs: 10_000, lines: 1, maxKeys: 2, maxLines: 2 } as const

/** One connection: whose it is, whether it is still there, and what the log says of it. */
export abstract class Connection {
  clientId = ''
  /** The time at which it began, in milliseconds since 1970. */
  readonly since: number
  readonly peer: ConnectionPeer
  readonly conn: Duplex
  /** CONNACK is out, and the connection has not closed. */
  opened = false
  /** It was ended, or has closed. */
  isGone = false
  #identity: Identity = NOBODY
  readonly #context: ConnectionContext
  #acksBehind = 0
  /** Made when the first line is due: most sessions need none. */
  #throttle: LogThrottle | undefined

  constructor(context: ConnectionContext, conn: Duplex, peer: ConnectionPeer) {
    this.#context = context
    this.conn = conn
    writeBeforeDestroy(conn)
    this.since = context.clock.wallMs()
    this.peer = peer
  }

  get identity(): Identity {
    return this.#identity
  }

  /** The core changes it when a pairing is approved. */
  set identity(identity: Identity) {
    this.#identity = identity
    this.identified()
  }

  /** The identity has changed. */
  protected abstract identified(): void

  get address(): string {
    return this.peer.address
  }

  get alive(): boolean {
    return this.opened && !this.isGone
  }

  /**
   * Shows whether nobody reads any more: the connection has closed, or its peer has ended it while nothing is read of
   * it, so that the stream tells no event. Node has no public name for that.
   */
  get hasLeft(): boolean {
    const { _readableState } = this.conn as Duplex & { readonly _readableState?: { readonly ended: boolean } }
    return this.isGone || this.conn.destroyed || _readableState?.ended === true
  }

  /** The version of MQTT; undefined until CONNECT has said it. */
  abstract get version(): MqttVersion | undefined

  abstract end(why: SessionEnd, afterFlush: boolean): void

  /** Ends the connection, and says why where the protocol has words for it: `code` and `reason` are those of MQTT 5. */
  abstract turnAway(code: number, reason: string): void

  /** Writes the same last words, and does no more. */
  abstract disconnectWith(code: number, reason: string): void

  /** CONNACK is out. The commands of the control socket come and go with each call, and are not worth a line. */
  protected signedIn(): void {
    const { identity, peer, version } = this
    if (identity.kind === 'candidate' || peer.local) return
    const message = `${describe(identity)} signed in from ${this.address}, MQTT ${version}`
    this.#context.peerLog.info('signed in', this.address, this.#who(), message)
  }

  /** Counts a limit that this session met, and says so at a bearable pace. */
  limited(limit: LimitName, fields: object, message: string): void {
    this.#context.counters.limits[limit]++
    this.#context.peerLog.limit(limit, this.address, { ...this.#who(), limit, ...fields }, message)
  }

  /** The peer broke a rule of MQTT. */
  broke(fault: string): void {
    const { counters, peerLog } = this.#context
    counters.violations++
    const message = 'protocol violation: connection closed'
    peerLog.info('violation', this.address, { ...this.#who(), fault }, message)
  }

  denied(what: 'publish' | 'subscribe' | 'will', topic: string): void {
    this.#context.counters.denied[what]++
    this.#rarely('denied', (count) => {
      const shown = topic.slice(0, 200)
      const fields = { ...this.#who(), what, topic: shown, count }
      const message = `${what} to ${shown} denied: ${describe(this.identity)} from ${this.address}`
      this.#context.peerLog.info(`denied ${what}`, this.address, fields, message)
    })
  }

  /**
   * Counts an acknowledgement that is about to be sent. False when too many would wait behind what the peer does not take;
   * then the connection ends. One large answer before them is no reason: whoever reads it reads them too.
   */
  mayAcknowledge(): boolean {
    if (this.conn.writableLength <= this.#context.limits.maxSessionBufferBytes) this.#acksBehind = 0
    else this.#acksBehind++
    if (this.#acksBehind <= MAX_ACKS_BEHIND) return true
    this.overrun()
    return false
  }

  /** The peer does not take what it asked for. */
  overrun(): void {
    if (this.isGone) return
    const message = 'a session does not read what it is sent; it is closed'
    this.#context.peerLog.warn('overrun', this.address, this.#who(), message)
    this.end('lost', false)
  }

  /** Too much waits for the sessions of its identity, or for all, and most of it for this one. */
  holdsMost(): void {
    if (this.isGone) return
    this.limited(
      'unsent',
      {},
      'too much waits for sessions that do not read: this one has most of it, and is closed',
    )
    this.end('lost', false)
  }

  shed(): void {
    const message = 'a session reads too slowly: QoS 0 messages, and answers to other sessions, are left out'
    this.#rarely('shed', (count) => {
      this.#context.peerLog.info('shed', this.address, { ...this.#who(), count }, message)
    })
  }

  /** Nothing that goes wrong for one session reaches another. */
  guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.fail(error, 'a session failed')
    }
  }

  fail(error: unknown, message: string): void {
    this.#context.peerLog.error('failed', this.address, { err: error, ...this.#who() }, message)
    this.turnAway(REASON.unspecifiedError, 'the bridge failed here; its log says how')
  }

  /** The log of the peers follows with the last one, so nothing is held back here. */
  #rarely(what: string, line: (count: number) => void): void {
    this.#throttle ??= new LogThrottle(this.#context.clock, RARELY)
    const suppressed = this.#throttle.due(what)
    if (suppressed !== undefined) line(suppressed + 1)
  }

  #who(): object {
    const { identity, clientId, address, version } = this
    const name = identity.kind === 'principal' ? { principal: identity.name } : { nodeId: identity.nodeId }
    return { who: identity.kind, ...name, clientId, address, version }
  }
}

/** `ops (operator)`, `cam1 (limb)`: for the line that a person reads. */
function describe(identity: Identity): string {
  return identity.kind === 'principal'
    ? `${identity.name} (${identity.role})`
    : `${identity.nodeId} (${identity.kind})`
}
