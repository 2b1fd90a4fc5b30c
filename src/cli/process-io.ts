import type { Io } from './parts.ts'

/** The process's own streams, environment and signals. */
export function processIo(): Io {
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
