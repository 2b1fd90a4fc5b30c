import type { Clock } from '../../kernel/clock.ts'
import { messageOf } from '../../kernel/errors.ts'
import type { HostLog } from '../log/log.ts'

/** Ends the process: once, cleanly, within a limit, and never silently. */

/** Exit code of a broken invariant (EX_SOFTWARE); the service manager starts the bridge again. */
const EXIT_SOFTWARE = 70
/** A clean stop is over within this, whatever hangs. */
const STOP_LIMIT_SECONDS = 5

/**
 * Takes SIGUSR1 from Node, which would open its debugger on a port for everybody on the machine, and SIGUSR2, which
 * would end the process. Called before anything else: a signal may come while the bridge starts.
 */
export function ignoreUserSignals(target: Pick<NodeJS.Process, 'on'> = process): void {
  for (const signal of ['SIGUSR1', 'SIGUSR2'] as const) target.on(signal, () => undefined)
}

export interface StopOptions {
  /** Stops the bridge; called at most once. */
  readonly stop: (why: string) => Promise<void>
  /** Reloads at SIGHUP. Without it SIGHUP is a stop. It never rejects. */
  readonly reload?: () => Promise<void>
  readonly log: HostLog
  readonly clock: Clock
  readonly limitSeconds?: number
  /** The slice of `process` that is used. */
  readonly process?: Pick<NodeJS.Process, 'on' | 'off' | 'exit'>
}

/**
 * SIGTERM and SIGINT stop the bridge and exit 0, SIGHUP reloads; a second one, the limit, or a stop that fails exit 1. What
 * nobody caught is logged and exits 70. Returns a function that takes the handlers off again.
 */
export function handleSignals(options: StopOptions): () => void {
  const { log, clock } = options
  const target = options.process ?? process
  const limitSeconds = options.limitSeconds ?? STOP_LIMIT_SECONDS
  let stopping = false

  const onSignal = (signal: string) => {
    if (stopping) {
      log.error({ signal }, 'second signal: exiting without waiting for the stop to finish')
      target.exit(1)
      return
    }
    stopping = true
    log.info({ signal }, 'stopping')
    clock.after(limitSeconds * 1000, () => {
      log.error({ limitSeconds }, 'the stop took too long: exiting without waiting for it')
      target.exit(1)
    })
    void finish(signal)
  }
  const finish = async (signal: string) => {
    try {
      await options.stop(signal)
    } catch (error) {
      log.error({ err: error }, `the stop failed: ${messageOf(error)}`)
      target.exit(1)
      return
    }
    target.exit(0)
  }
  const onUncaught = (error: unknown, origin: string) => {
    log.fatal({ err: error, origin }, `the bridge stops: ${messageOf(error)}`)
    target.exit(EXIT_SOFTWARE)
  }
  const onRejection = (reason: unknown) => onUncaught(reason, 'unhandledRejection')

  const onHangup = (signal: string) => {
    if (!options.reload) onSignal(signal)
    else if (!stopping) void options.reload()
  }
  target.on('SIGTERM', onSignal)
  target.on('SIGINT', onSignal)
  target.on('SIGHUP', onHangup)
  target.on('uncaughtException', onUncaught)
  target.on('unhandledRejection', onRejection)
  return () => {
    target.off('SIGTERM', onSignal)
    target.off('SIGINT', onSignal)
    target.off('SIGHUP', onHangup)
    target.off('uncaughtException', onUncaught)
    target.off('unhandledRejection', onRejection)
  }
}
