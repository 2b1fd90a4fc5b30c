import type { Identity } from '../bridge/ports.ts'
import type { Address, Topics } from '../protocol/topics.ts'
import { LONG_VERBS } from '../protocol/verbs.ts'

/** Where a PUBLISH of the short path goes: to the core as a heartbeat, or as a message of this address. */
export type Destination = 'heartbeat' | Address

interface Shortcut {
  readonly topic: string
  readonly bytes: Buffer
  readonly destination: Destination
  /** A candidate has none yet: its topics become its own when it is approved. */
  readonly kind: Identity['kind']
}

/** A PUBLISH that was recognised, in the chunk that holds it. */
export interface ShortPublish {
  readonly destination: Destination
  /** Where its packet identifier stands, 0 at QoS 0. */
  readonly idAt: number
  readonly payloadAt: number
}

/**
 * The main paths: at QoS 0 or 1 a heartbeat, a result, and a request that is answered later are recognised by
 * their topic's bytes and go straight to the core; they reach neither the parser nor Aedes, which would cost half
 * as much again. All of them are acknowledged at once, so nothing of them waits. To publish on these topics is
 * the right of the session that they name: who has them here needs no other.
 */
export class ShortPath {
  readonly #shortcuts: readonly Shortcut[]

  constructor(topics: Topics, identity: Identity) {
    this.#shortcuts = shortcutsOf(topics, identity)
  }

  /** Undefined for a PUBLISH (which passed its checks) that takes the long way. */
  find(identity: Identity, first: number, bytes: Buffer, body: number): ShortPublish | undefined {
    if ((first & 0x04) !== 0) return undefined
    const length = bytes.readUInt16BE(body)
    for (const shortcut of this.#shortcuts) {
      if (shortcut.bytes.length !== length || shortcut.kind !== identity.kind) continue
      const at = body + 2
      const end = at + length
      if (bytes.compare(shortcut.bytes, 0, length, at, end) !== 0) continue
      const acknowledged = (first & 0x02) !== 0
      const { destination } = shortcut
      return { destination, idAt: acknowledged ? end : 0, payloadAt: acknowledged ? end + 2 : end }
    }
    return undefined
  }
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
