import { escapeText } from '../../kernel/escape-text.ts'
import type { Io } from '../context.ts'
import { EXIT } from '../exit.ts'
import { print } from './text.ts'

/** The process's own streams, environment and signals. */
export function processIo(): Io {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // Whoever read has seen enough (`| head`): no failure. Any other error is that of whoever listens too, or ours.
    if (error.code === 'EPIPE' || process.stdout.listenerCount('error') > 1) return
    print(process.stderr, `limb-bridge: cannot write: ${escapeText(error.message)}`)
    process.exit(EXIT.refused)
  })
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    onInterrupt(listener) {
      // Neither a signal handler nor the project's timers keep a process alive; whoever waits for Ctrl-C wants it to.
      const hold = setInterval(() => {}, 60_000)
      process.on('SIGINT', listener)
      process.on('SIGTERM', listener)
      return () => {
        clearInterval(hold)
        process.off('SIGINT', listener)
        process.off('SIGTERM', listener)
      }
    },
  }
}
