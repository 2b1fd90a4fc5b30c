import { PacedLog } from '../bridge/live/paced-log.ts'
import type { Log } from '../bridge/ports.ts'
import { addressGroup } from '../kernel/address.ts'
import type { Clock } from '../kernel/clock.ts'
import type { LimitName } from './counters.ts'

/** Enough to see what is going on, whoever tries to fill the disk. */
const PACE = { quietMs: 10_000, lines: 5, maxKeys: 200, maxLines: 50 } as const

const LIMIT_SETTINGS: Readonly<Record<LimitName, string>> = {
  messages: 'mqtt.maxMessagesPerSecond, for a candidate a fixed one',
  bytes: 'mqtt.maxBytesPerSecond',
  topic: 'mqtt.maxTopicBytes or mqtt.maxTopicLevels',
  subscriptions: 'mqtt.maxSubscriptionsPerSession',
  principal_subscriptions: 'mqtt.maxSubscriptionsPerPrincipal',
  packet: 'mqtt.maxPacketBytes, for a candidate and on the control socket a fixed one',
  packet_time: 'a fixed one',
  filters: 'a fixed one, 2000 in one SUBSCRIBE or UNSUBSCRIBE',
  unsent: 'mqtt.maxUnsentBytesPerIdentity or mqtt.maxUnsentBytes',
  partial: 'mqtt.maxPartialBytesPerIdentity or mqtt.maxPartialBytes',
  sessions: 'mqtt.maxSessionsPerPrincipal, for a limb a fixed one',
  strangers: 'mqtt.maxStrangerBytes',
  sign_in_bytes: 'mqtt.maxConnectBytes',
  connect_time: 'mqtt.connectSeconds',
  inflight: 'mqtt.maxInflightPerSession',
}

const SUBSCRIPTIONS = new Set<LimitName>(['subscriptions', 'principal_subscriptions'])

/**
 * Log lines about what peers do wrong: five of a kind for each address in ten seconds, fifty of a kind for all, then the
 * newest and a count. A flood of one kind hides no other, and one of strangers nothing of limbs and principals.
 */
export class PeerLog {
  readonly #context: { readonly clock: Clock; readonly log: Log }
  /** One for each kind and what the peer is: as many as there are in the code. */
  readonly #logs = new Map<string, PacedLog>()

  constructor(clock: Clock, log: Log) {
    this.#context = { clock, log }
  }

  error(kind: string, address: string, fields: object, message: string): void {
    this.#write('error', kind, address, fields, message)
  }

  info(kind: string, address: string, fields: object, message: string): void {
    this.#write('info', kind, address, fields, message)
  }

  warn(kind: string, address: string, fields: object, message: string): void {
    this.#write('warn', kind, address, fields, message)
  }

  stop(): void {
    for (const log of this.#logs.values()) log.stop()
  }

  /** Logs that a limit was met, with the setting that moves it. */
  limit(limit: LimitName, address: string, fields: object, message: string): void {
    // Few clients look at the code of SUBACK: what they do not see must be seen here.
    const level = SUBSCRIPTIONS.has(limit) ? 'warn' : 'info'
    this.#write(level, `limit ${limit}`, address, fields, `${message}; the limit is ${LIMIT_SETTINGS[limit]}`)
  }

  #write(
    level: 'info' | 'warn' | 'error',
    kind: string,
    address: string,
    fields: object,
    message: string,
  ): void {
    // A candidate, a limb or a principal; who has not signed in is none of them.
    const who = 'who' in fields ? fields.who : ''
    this.#logOf(`${kind} ${who}`).write(level, addressGroup(address), { address, ...fields }, message)
  }

  #logOf(kind: string): PacedLog {
    let log = this.#logs.get(kind)
    if (log === undefined) {
      log = new PacedLog(this.#context, PACE)
      this.#logs.set(kind, log)
    }
    return log
  }
}
