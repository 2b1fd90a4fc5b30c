import type { Log } from '../../bridge/ports.ts'
import type { Clock } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import type { Environment } from '../config/env.ts'
import type { ServiceManager } from './notify.ts'

/**
 * Keeps the service manager informed while the bridge runs: the status line, and the watchdog, which is fed only
 * after the probe has answered. A stuck event loop never gets as far as asking; a database or broker that does
 * not answer leaves the watchdog hungry, and systemd starts the bridge anew.
 */
export interface WatchdogOptions {
  readonly manager: ServiceManager
  readonly env: Environment
  readonly pid: number
  /** Asks the database and the broker. Rejects, or does not come back, when one of them is not well. */
  readonly probe: () => Promise<void>
  /** Returns what `systemctl status` shows. */
  readonly status: () => string
  readonly clock: Clock
  readonly log: Log
}

/** The time between two refreshes of the status line without a watchdog. */
const STATUS_INTERVAL_MS = 10_000
/** Two beats may get lost on a machine that swaps. */
const BEATS_PER_WATCHDOG = 3

/** Milliseconds after which the service manager gives the process up; undefined without a watchdog for it. */
export function watchdogMs(env: Environment, pid: number): number | undefined {
  if (env.WATCHDOG_PID && env.WATCHDOG_PID !== String(pid)) return undefined
  const usec = Number(env.WATCHDOG_USEC)
  return Number.isSafeInteger(usec) && usec > 0 ? usec / 1000 : undefined
}

/** Starts at once; returns a function that ends it. */
export function startWatchdog(options: WatchdogOptions): () => void {
  if (!options.manager.present) return () => {}
  const limitMs = watchdogMs(options.env, options.pid)
  const intervalMs = Math.min(
    STATUS_INTERVAL_MS,
    limitMs === undefined ? Infinity : limitMs / BEATS_PER_WATCHDOG,
  )
  const watchdog = new Watchdog(options, intervalMs)
  watchdog.beat()
  return () => watchdog.stop()
}

class Watchdog {
  readonly #options: WatchdogOptions
  readonly #intervalMs: number
  #stopped = false
  #cancel: (() => void) | undefined
  /** Asked and not answered: a second question would only queue behind it. */
  #asking = false
  #ill = false

  constructor(options: WatchdogOptions, intervalMs: number) {
    this.#options = options
    this.#intervalMs = intervalMs
  }

  beat(): void {
    if (this.#stopped) return
    this.#cancel = this.#options.clock.after(this.#intervalMs, () => this.beat())
    if (this.#asking) this.#silent('the last question has no answer yet')
    else void this.#ask()
  }

  stop(): void {
    this.#stopped = true
    this.#cancel?.()
  }

  async #ask(): Promise<void> {
    const { probe, manager, status, log } = this.#options
    this.#asking = true
    try {
      await probe()
      if (this.#stopped) return
      if (this.#ill) log.info({}, 'the bridge answers itself again')
      this.#ill = false
      await manager.alive(status())
    } catch (error) {
      this.#silent(messageOf(error))
    } finally {
      this.#asking = false
    }
  }

  #silent(why: string): void {
    if (!this.#ill && !this.#stopped) {
      this.#options.log.error({ why }, 'the bridge does not answer itself; the watchdog is not fed')
    }
    this.#ill = true
  }
}
