export interface WillPacket {
  readonly topic: string
  readonly payload: Uint8Array | string
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  brokerId?: string
  clientId?: string
}

/** When each broker was last heard, by id. */
export type Brokers = Readonly<Record<string, unknown>>

/**
 * Wills of live sessions, in memory. They are not stored on purpose: the bridge tells by itself, at its start,
 * that everything is offline, and a will that Aedes finds in a store goes out some four minutes after that.
 */
export class Wills {
  broker: { readonly id: string } = { id: '' }
  readonly #wills = new Map<string, WillPacket>()

  put(clientId: string, packet: WillPacket): void {
    packet.brokerId = this.broker.id
    packet.clientId = clientId
    this.#wills.set(clientId, packet)
  }

  get(clientId: string): WillPacket | undefined {
    return this.#wills.get(clientId)
  }

  delete(clientId: string): WillPacket | undefined {
    const will = this.#wills.get(clientId)
    this.#wills.delete(clientId)
    return will
  }

  /** Those of brokers that are not among the living. */
  *of(living: Brokers): Iterable<WillPacket> {
    for (const will of this.#wills.values()) {
      if (!Object.hasOwn(living, will.brokerId ?? '')) yield will
    }
  }
}
