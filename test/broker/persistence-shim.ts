import { Readable } from 'node:stream'
import type { PublishPacket } from '../../src/broker/persistence/packets.ts'
import { MqttPersistence, type PersistenceOptions } from '../../src/broker/persistence/persistence.ts'
import { packetsOf } from '../../src/broker/retained-for.ts'

interface Will {
  readonly topic: string
  brokerId?: string
  clientId?: string
}

type Client = { readonly id: string | null }

/**
 * The whole interface of aedes-persistence 11: what its public suite and bare Aedes call, and this broker never
 * does. Wills are kept in memory.
 */
export class WholePersistence extends MqttPersistence {
  readonly #store: PersistenceOptions['store']
  readonly #wills = new Map<string, Will>()

  constructor(options: PersistenceOptions) {
    super(options)
    this.#store = options.store
  }

  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    const all = await this.#store.loadSubscriptions()
    return {
      subsCount: all.filter(({ qos }) => qos > 0).length,
      clientsCount: new Set(all.map(({ clientId }) => clientId)).size,
    }
  }

  getClientList(wanted: string): Readable {
    const clients = this.#store
      .loadSubscriptions()
      .then((all) => all.filter(({ filter }) => filter === wanted).map(({ clientId }) => clientId))
    return Readable.from(
      (async function* () {
        yield* await clients
      })(),
    )
  }

  createRetainedStream(filter: string): Readable {
    return this.createRetainedStreamCombi([filter])
  }

  /** As they were stored: without what a packet has on its way to a subscriber only. */
  createRetainedStreamCombi(filters: readonly string[]): Readable {
    const portions = this.retained(filters)
    return Readable.from(
      (async function* () {
        for await (const portion of portions) {
          for (const { brokerId, brokerCounter, dup, ...stored } of await packetsOf(portion)) yield stored
        }
      })(),
    )
  }

  outgoingEnqueue(subscriber: { clientId: string; qos?: 0 | 1 | 2 }, packet: PublishPacket): Promise<void> {
    return this.outgoingEnqueueCombi([subscriber], packet)
  }

  async putWill({ id }: Client, will: Will): Promise<void> {
    will.brokerId = this.broker.id
    will.clientId = id ?? ''
    this.#wills.set(id ?? '', will)
  }

  async getWill({ id }: Client): Promise<Will | undefined> {
    return this.#wills.get(id ?? '')
  }

  async delWill({ id }: Client): Promise<Will | undefined> {
    const will = this.#wills.get(id ?? '')
    this.#wills.delete(id ?? '')
    return will
  }

  /** Those of brokers that are not among the living. */
  streamWill(living: Readonly<Record<string, unknown>> = {}): Readable {
    return Readable.from(
      [...this.#wills.values()].filter((will) => !Object.hasOwn(living, will.brokerId ?? '')),
    )
  }
}
