import type { Log } from '../../bridge/ports.ts'
import { bootMicroseconds, type Clock } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import type { Environment } from '../config/env.ts'
import { type NotifyHelper, notifyHelper } from './notify-helper.ts'

/** Tells the service manager how the bridge is (sd_notify(3)). No call rejects or takes long. */
export interface ServiceManager {
  /** Shows whether anybody listens. Without anybody, every call is a no-op. */
  readonly present: boolean
  ready(status: string): Promise<void>
  /** Sets what `systemctl status` shows, one line. */
  status(text: string): Promise<void>
  /** Feeds the watchdog, with a status. */
  alive(status: string): Promise<void>
  /** Says that a reload has begun; `ready` must end it. */
  reloading(): Promise<void>
  stopping(): Promise<void>
  /** The start has failed; nothing follows. `systemctl status` shows why. */
  failed(why: string): Promise<void>
  /** The start, or the stop, may take so many more seconds from now. */
  extend(seconds: number): Promise<void>
  /** Closes it after the last message. */
  close(): void
}

export interface NotifyOptions {
  readonly env: Environment
  readonly log: Log
  readonly clock: Clock
  /** The helper, for tests. */
  readonly helper?: NotifyHelper
}

const DEFAULT_PATH = '/usr/local/bin:/usr/bin:/bin'
const STATUS_MAX_LENGTH = 256
/** Messages that wait while systemd does not answer; later changes of state are dropped and logged. */
const MAX_WAITING = 16
/** Replaced by a newer value of their own; all others are changes of state, whose order matters. */
const MERGEABLE = new Set(['STATUS', 'WATCHDOG'])

export function serviceManager(options: NotifyOptions): ServiceManager {
  const socket = options.env.NOTIFY_SOCKET
  if (!socket) return absent
  const helper = options.helper ?? notifyHelper(socket, options.env.PATH ?? DEFAULT_PATH, options.clock)
  const notifier = new Notifier(helper, options.log)
  return {
    present: true,
    ready: (status) => notifier.notify({ READY: '1', STATUS: line(status) }),
    status: (text) => notifier.notify({ STATUS: line(text) }),
    alive: (status) => notifier.notify({ WATCHDOG: '1', STATUS: line(status) }),
    // Type=notify-reload (systemd 253) compares the time with that of its SIGHUP.
    reloading: () => notifier.notify({ RELOADING: '1', MONOTONIC_USEC: String(bootMicroseconds()) }),
    stopping: () => notifier.notify({ STOPPING: '1', STATUS: 'stopping' }),
    failed: async (why) => {
      await notifier.notify({ STATUS: line(why) })
      helper.close()
    },
    close: () => helper.close(),
    extend: (seconds) => notifier.notify({ EXTEND_TIMEOUT_USEC: String(Math.ceil(seconds) * 1_000_000) }),
  }
}

const nothing = async () => {}
const absent: ServiceManager = {
  present: false,
  ready: nothing,
  status: nothing,
  alive: nothing,
  reloading: nothing,
  stopping: nothing,
  failed: nothing,
  extend: nothing,
  close: () => {},
}

/** A line feed would be the next assignment. */
function line(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ').slice(0, STATUS_MAX_LENGTH)
}

type Message = Record<string, string>

/** One message at a time, in order. */
class Notifier {
  readonly #helper: NotifyHelper
  readonly #log: Log
  readonly #waiting: Message[] = []
  #sending: Promise<void> | undefined
  #failed = false

  constructor(helper: NotifyHelper, log: Log) {
    this.#helper = helper
    this.#log = log
  }

  /** Resolves when it, and what waited before it, was delivered or given up. Never rejects. */
  async notify(message: Message): Promise<void> {
    const last = this.#waiting.at(-1)
    if (last && Object.keys(message).every((key) => MERGEABLE.has(key))) Object.assign(last, message)
    else if (this.#waiting.length < MAX_WAITING) this.#waiting.push(message)
    else this.#log.warn({ message: Object.keys(message) }, 'the service manager does not listen: not told')
    this.#sending ??= this.#drain()
    await this.#sending
  }

  async #drain(): Promise<void> {
    for (let message = this.#waiting.shift(); message; message = this.#waiting.shift()) {
      await this.#deliver(Object.entries(message).map(([key, value]) => `${key}=${value}`))
    }
    this.#sending = undefined
  }

  async #deliver(assignments: readonly string[]): Promise<void> {
    try {
      await this.#helper.send(assignments)
      this.#failed = false
    } catch (error) {
      // Once per outage: the watchdog speaks every few seconds.
      if (!this.#failed)
        this.#log.warn({ err: error }, `cannot notify the service manager: ${messageOf(error)}`)
      this.#failed = true
    }
  }
}
