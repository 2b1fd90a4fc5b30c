import type { Core } from '../bridge/core.ts'
import type { RetainedView } from '../bridge/ports.ts'
import type { BridgeContext } from '../bridge/settings.ts'
import type { Broker } from '../broker/broker.ts'
import type { MqttPersistence, PersistenceLimits } from '../broker/persistence/persistence.ts'
import type { HomeAssistant, OpenDiscovery } from '../homeassistant/home-assistant.ts'
import type { Config } from '../host/config/config.ts'
import type { Certificates } from '../host/tls/certificates.ts'
import type { Metrics } from '../http/metrics.ts'
import type { Phase } from '../http/readiness.ts'
import type { HttpServer } from '../http/server.ts'
import { invariant } from '../kernel/assert.ts'
import type { Teardown } from '../kernel/teardown.ts'
import type { Topics } from '../protocol/topics.ts'
import type { StoreParts } from '../store/engine.ts'
import type { Uplink } from '../uplink/uplink.ts'
import type { AppOptions, RunningBridge } from './options.ts'

/**
 * The parts that the bridge is built of, one interface for each builder. Each builder is handed what was built before;
 * what can only be there later is read through a `Late`.
 */

/** A part that others are handed before it is built. */
export class Late<T> {
  readonly #what: string
  #value: T | undefined

  constructor(what: string) {
    this.#what = what
  }

  fill(value: T): T {
    this.#value = value
    return value
  }

  get value(): T {
    invariant(this.#value, `${this.#what} is used before it is there`)
    return this.#value
  }
}

/** The listeners of a standby, which make room for those of a bridge that leads. */
export interface Standby {
  /** The port of its HTTP; undefined: it is switched off. */
  readonly httpPort: number | undefined
  /** The number of limbs that it holds ready. */
  readonly heldLimbs: number
  close(): Promise<void>
}

/** The beginning of a build: what every builder is handed. */
export interface Build {
  readonly options: AppOptions
  readonly version: string
  readonly topics: Topics
  readonly teardown: Teardown
  readonly metrics: Metrics
  readonly now: {
    /** The configuration that holds: a reload replaces it. */
    config: Config
    phase: Phase
    /** Names who leads, in words for people, while this bridge waits; undefined: it leads. */
    standby: string | undefined
    /** The listeners of a standby, until those of the bridge open. */
    standbyDoors: Standby | undefined
    /** The certificates; undefined when nothing listens with TLS. */
    certificates: Certificates | undefined
    /** The HTTP server; undefined until it listens, and when it is switched off. */
    http: HttpServer | undefined
  }
  readonly store: Late<StoreParts>
  readonly core: Late<CoreParts>
  readonly broker: Late<BrokerParts>
}

export interface CoreParts {
  readonly context: BridgeContext
  readonly core: Core
  readonly adminPassword: RunningBridge['adminPassword']
  readonly homeAssistant: HomeAssistant
  /** The messages for Home Assistant on the embedded broker; undefined when it is not asked for. */
  readonly announced: OpenDiscovery | undefined
  /** All retained messages that are made and not stored. */
  readonly view: RetainedView
}

export interface BrokerParts {
  readonly broker: Broker
  readonly persistence: MqttPersistence
  /** The limits that hold: a reload writes into them. */
  readonly storedLimits: PersistenceLimits
  readonly uplinks: readonly Uplink[]
}

export interface ListenerParts extends Pick<RunningBridge, 'mqtt' | 'tls' | 'control' | 'firstStartSecret'> {
  readonly http: HttpServer | undefined
}
