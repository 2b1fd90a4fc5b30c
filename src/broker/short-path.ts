import type { Identity, Session } from '../bridge/ports.ts'
import type { Address, Topics } from '../protocol/topics.ts'
import { LONG_VERBS } from '../protocol/verbs.ts'
import type { AedesClient } from './aedes-internals.ts'
import type { Connection } from './connection.ts'
import type { Frame } from './frame-splitter.ts'
import type { OrderedQueue } from './ordered-queue.ts'
import { puback } from './publish-frame.ts'
import type { SessionContext } from './session-context.ts'

/** Says where a PUBLISH of the short path goes: to the core as a heartbeat, or as a message of this address. */
type Destination = 'heartbeat' | Address

interface Shortcut {
  readonly topic: string
  readonly bytes: Buffer
  readonly destination: Destination
  /** A candidate has none yet: its topics become its own when it is approved. */
  readonly kind: Identity['kind']
}

/** Acknowledgements owed on the short path; those of one chunk of the socket are fewer. */
const MAX_OWED = 10_000
/** The same of messages that may wait for the store. */
const MAX_OWED_OTHERS = 100

const NOTHING = () => undefined

/**
 * The main paths: at QoS 0 or 1 a heartbeat, a result, and a request that is answered later are recognised by
 * their topic's bytes and go straight to the core; they reach neither the parser nor Aedes, which would cost half
 * as much again. All of them are acknowledged at once, so nothing of them waits. To publish on these topics is
 * the right of the session that they name: who has them here needs no other.
 */
export class ShortPath {
  readonly #context: SessionContext
  readonly #session: Connection & Session
  readonly #client: AedesClient<unknown>
  readonly #acks: OrderedQueue
  readonly #shortcuts: readonly Shortcut[]

  constructor(
    context: SessionContext,
    session: Connection & Session,
    client: AedesClient<unknown>,
    acks: OrderedQueue,
  ) {
    this.#context = context
    this.#session = session
    this.#client = client
    this.#acks = acks
    this.#shortcuts = shortcutsOf(context.topics, session.identity)
  }

  /** False for a PUBLISH (which passed its checks) that takes the long way. */
  take(frame: Frame, flush: () => void, propertyBytes = 0): boolean {
    const { bytes, start, body, end } = frame
    const first = bytes[start] as number
    const shortcut = (first & 0x04) === 0 ? this.#find(bytes, body) : undefined
    if (shortcut === undefined) return false
    flush()
    // Not while so many acknowledgements are owed that Aedes should stop reading.
    if (this.#acks.length > MAX_OWED) return false
    if (this.#session.isGone) return true
    const client = this.#client
    if (client._keepaliveInterval > 0) client._keepaliveTimer?.refresh()
    const idAt = body + 2 + shortcut.bytes.length
    const acknowledged = (first & 0x02) !== 0
    const payload = bytes.subarray((acknowledged ? idAt + 2 : idAt) + propertyBytes, end)
    this.#hand(shortcut.destination, payload, acknowledged ? bytes.readUInt16BE(idAt) : 0)
    return true
  }

  /**
   * The same for a PUBLISH of MQTT 5 that has not been checked: what has properties, or is not well-formed, takes the
   * long way.
   */
  take5(frame: Frame, flush: () => void): boolean {
    const { bytes, start, body, end } = frame
    const first = bytes[start] as number
    if (end - body < 3 || (first & 0x04) !== 0 || (first & 0x0a) === 0x08) return false
    const propertiesAt = body + 2 + bytes.readUInt16BE(body) + ((first & 0x02) !== 0 ? 2 : 0)
    if (propertiesAt >= end || bytes[propertiesAt] !== 0) return false
    if ((first & 0x02) !== 0 && bytes.readUInt16BE(propertiesAt - 2) === 0) return false
    return this.take(frame, flush, 1)
  }

  /**
   * Any other PUBLISH of QoS 0 or 1 (which passed its checks): Aedes' parser, its hooks and its PUBACK in four writes
   * would cost as much as all the rest. False while so many acknowledgements are owed that Aedes should stop reading.
   */
  takeOther({ bytes, start, body, end }: Frame, flush: () => void): boolean {
    const first = bytes[start] as number
    if ((first & 0x04) !== 0) return false
    flush()
    if (this.#acks.length > MAX_OWED_OTHERS) return false
    if (this.#session.isGone) return true
    const client = this.#client
    if (client._keepaliveInterval > 0) client._keepaliveTimer?.refresh()
    const topicEnd = body + 2 + bytes.readUInt16BE(body)
    const qos = (first & 0x02) === 0 ? 0 : 1
    const message = {
      topic: bytes.toString('utf8', body + 2, topicEnd),
      payload: bytes.subarray(topicEnd + 2 * qos, end),
      qos,
      retain: (first & 0x01) !== 0,
    } as const
    if (qos === 0) {
      this.#context.publish(this.#session, message, NOTHING)
      return true
    }
    const id = bytes.readUInt16BE(topicEnd)
    this.#context.publish(this.#session, message, () => this.#puback(id))
    return true
  }

  #find(bytes: Buffer, body: number): Shortcut | undefined {
    const length = bytes.readUInt16BE(body)
    const { kind } = this.#session.identity
    for (const shortcut of this.#shortcuts) {
      if (shortcut.bytes.length !== length || shortcut.kind !== kind) continue
      if (standsAt(bytes, body + 2, shortcut.bytes)) return shortcut
    }
    return undefined
  }

  /** `id`: of the PUBLISH, 0 at QoS 0. */
  #hand(destination: Destination, payload: Buffer, id: number): void {
    if (destination !== 'heartbeat') {
      this.#handMessage(destination, payload, id)
      return
    }
    this.#context.inbound.heartbeat(this.#session, payload)
    if (id === 0) return
    if (this.#acks.length === 0) this.#puback(id)
    else this.#acks.run(() => this.#puback(id))
  }

  #handMessage(address: Address, payload: Buffer, id: number): void {
    const ticket = id > 0 ? this.#acks.hold(() => this.#puback(id)) : undefined
    this.#context.inbound.message(this.#session, address, payload).then(
      // What it has brought about goes first: somebody waits for that, and nobody for the acknowledgement.
      () => ticket && process.nextTick(() => this.#acks.release(ticket)),
      (error: unknown) => this.#session.fail(error, 'a message could not be handled'),
    )
  }

  #puback(id: number): void {
    const { conn } = this.#session
    if (this.#session.mayAcknowledge() && conn.writable) conn.write(puback(id))
  }
}

/** Compares here, because topics are short and a call of `Buffer.compare` costs more than its bytes. */
function standsAt(bytes: Buffer, at: number, topic: Buffer): boolean {
  // From the end: topics of one limb begin alike.
  for (let i = topic.length - 1; i >= 0; i--) if (bytes[at + i] !== topic[i]) return false
  return true
}

function shortcutsOf(topics: Topics, identity: Identity): Shortcut[] {
  const shortcut = (topic: string, destination: Destination, kind: Identity['kind']) => ({
    topic,
    bytes: Buffer.from(topic),
    destination,
    kind,
  })
  if (identity.kind === 'principal') {
    const { name } = identity
    return LONG_VERBS.map((verb) =>
      shortcut(topics.request(name, verb), { kind: 'request', principal: name, verb }, 'principal'),
    )
  }
  const { nodeId } = identity
  return [
    shortcut(topics.node(nodeId, 'heartbeat'), 'heartbeat', 'limb'),
    shortcut(topics.node(nodeId, 'result'), { kind: 'node', nodeId, leaf: 'result' }, 'limb'),
  ]
}
