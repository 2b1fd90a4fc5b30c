import type { Log } from '../bridge/ports.ts'
import { addressGroup } from '../kernel/address.ts'
import type { Clock } from '../kernel/clock.ts'
import { LogThrottle } from '../kernel/log-throttle.ts'
import type { LimitName } from './counters.ts'

/** Enough to see what is going on, whoever tries to fill the disk. */
const PACE = { quietMs: 10_000, lines: 5, maxKeys: 1000 } as const

const LIMIT_SETTINGS: Readonly<Record<LimitName, string>> = {
  messages: 'mqtt.maxMessagesPerSecond, for a candidate a fixed one',
  bytes: 'mqtt.maxBytesPerSecond',
  topic: 'mqtt.maxTopicBytes or mqtt.maxTopicLevels',
  subscriptions: 'mqtt.maxSubscriptionsPerSession',
  principal_subscriptions: 'mqtt.maxSubscriptionsPerPrincipal',
  packet: 'mqtt.maxPacketBytes, for a candidate and on the control socket a fixed one',
  packet_time: 'a fixed one',
  sessions: 'mqtt.maxSessionsPerPrincipal, for a limb a fixed one',
  strangers: 'mqtt.maxStrangerBytes',
  sign_in_bytes: 'mqtt.maxConnectBytes',
  connect_time: 'mqtt.connectSeconds',
  inflight: 'mqtt.maxInflightPerSession',
}

const SUBSCRIPTIONS = new Set<LimitName>(['subscriptions', 'principal_subscriptions'])

/** Log lines about what peers do wrong: five of a kind for each address in ten seconds, then the newest and a count. */
export class PeerLog {
  readonly #throttle: LogThrottle
  readonly #log: Log

  constructor(clock: Clock, log: Log) {
    this.#throttle = new LogThrottle(clock, PACE)
    this.#log = log
  }

  info(kind: string, address: string, fields: object, message: string): void {
    this.#write('info', kind, address, fields, message)
  }

  warn(kind: string, address: string, fields: object, message: string): void {
    this.#write('warn', kind, address, fields, message)
  }

  stop(): void {
    this.#throttle.stop()
  }

  /** Logs that a limit was met, with the setting that moves it. */
  limit(limit: LimitName, address: string, fields: object, message: string): void {
    // Few clients look at the code of SUBACK: what they do not see must be seen here.
    const level = SUBSCRIPTIONS.has(limit) ? 'warn' : 'info'
    this.#write(level, `limit ${limit}`, address, fields, `${message}; the limit is ${LIMIT_SETTINGS[limit]}`)
  }

  #write(level: 'info' | 'warn', kind: string, address: string, fields: object, message: string): void {
    this.#throttle.write(`${kind} ${addressGroup(address)}`, (suppressed) => {
      this.#log[level]({ address, ...fields, ...(suppressed === 0 ? undefined : { suppressed }) }, message)
    })
  }
}
