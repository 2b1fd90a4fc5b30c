import type { Feed, Log, RetainedView } from '../bridge/ports.ts'
import type { RemotePeer } from '../bridge/verbs/remote-peer.ts'
import type { Clock } from '../kernel/clock.ts'
import type { Topics } from '../protocol/topics.ts'

/** An uplink as the configuration has it. */
export interface UplinkSettings {
  readonly name: string
  readonly url: string
  readonly caFile?: string | undefined
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** Read at each connect. */
  readonly passwordFile?: string | undefined
  /** The prefix in the place of the topic root. */
  readonly prefix: string
  /** `auto`: MQTT 5 where the other broker speaks it, else 3.1.1. */
  readonly protocolVersion: 'auto' | 4 | 5
  readonly qos: 0 | 1
  /** Filters below the root. */
  readonly data: readonly string[]
  readonly requests: { readonly principals: readonly string[] }
  readonly maxQueued: number
}

/** A view that is kept on the broker there, apart from the mirror, such as discovery messages. */
export interface ExtraView {
  /** The messages that are to be retained there. */
  readonly view: RetainedView
  /** The filter of what it keeps there; read back at each connect, so that leftovers are cleared. */
  readonly filter: string
  /** Returns whether a message that was read back is its own, and not another program's. */
  wrote(topic: string, payload: Uint8Array): boolean
  /** The topic that it listens to there. */
  readonly topic: string
  heard(payload: Uint8Array): void
}

export interface UplinkOptions {
  readonly settings: UplinkSettings
  /** The topics of the embedded broker. */
  readonly topics: Topics
  readonly view: RetainedView
  readonly feed: Feed
  readonly extraView?: ExtraView | undefined
  /** Makes the peer that takes requests from there, for one connection. */
  readonly peer: () => RemotePeer
  readonly clock: Clock
  readonly log: Log
  /** Returns a number from 0 to less than 1; for tests. */
  readonly random?: () => number
}

/** A message on its way there. */
export interface UplinkMessage {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: 0 | 1
  readonly retain: boolean
}

export interface UplinkReadings {
  readonly name: string
  readonly connected: boolean
  readonly published: number
  readonly dropped: number
  /** Connections that were made after the first. */
  readonly reconnects: number
  readonly queued: number
  /** Topics of which messages are not sent, because the other broker does not take them. */
  readonly setAside: number
}
