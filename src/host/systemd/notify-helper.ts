import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import type { Clock } from '../../kernel/clock.ts'

/**
 * Delivers messages to the service manager through `systemd-notify`, run by a small shell that is started once.
 *
 * Node has no datagram Unix sockets. To run `systemd-notify` from the bridge itself would fork the bridge: 3 ms of
 * a stopped event loop when it is small, 23 ms with a heap of 1 GB, every ten seconds. The shell stays small. The
 * other way, a foreign-function library, would bring a native binary per architecture into the address space that
 * holds the keys, for the same thirty bytes.
 *
 * `systemd-notify` waits until its message was read, so that it cannot be lost with its sender; the unit must say
 * NotifyAccess=all, because the sender is a child.
 */
export interface NotifyHelper {
  /** Delivers one message, one at a time. Rejects when it was not taken within the limit. */
  send(assignments: readonly string[]): Promise<void>
  close(): void
}

/** One assignment a line; an empty line sends them. Answers with the exit status of each message. */
const LOOP =
  'while IFS= read -r line; do if [ -n "$line" ]; then set -- "$@" "$line"; else systemd-notify "$@"; echo $?; set --; fi; done'

/** The time to wait for an answer: systemd answers at once or is in trouble; the watchdog's interval is longer. */
const ANSWER_LIMIT_MS = 3000

type Shell = ChildProcessByStdio<Writable, Readable, null>

export function notifyHelper(socket: string, path: string, clock: Clock): NotifyHelper {
  let shell: Shell | undefined

  const start = (): Shell => {
    const env = { NOTIFY_SOCKET: socket, PATH: path }
    const child = spawn('/bin/sh', ['-c', LOOP], { env, cwd: '/', stdio: ['pipe', 'pipe', 'ignore'] })
    // A shell that is gone shows as a closed output.
    child.stdin.on('error', () => {})
    child.on('error', () => {})
    // Killed by somebody: the next message starts another, and is not lost to a dead one.
    child.once('exit', () => {
      if (shell === child) shell = undefined
    })
    return child
  }
  const end = () => {
    shell?.kill('SIGKILL')
    shell = undefined
  }

  return {
    async send(assignments) {
      shell ??= start()
      const answered = answer(shell, clock)
      shell.stdin.write(`${assignments.join('\n')}\n\n`)
      const status = await answered
      if (status === '0') return
      // Whatever it still says must not be taken for the next answer.
      end()
      throw new Error(
        status === undefined ? 'no answer from systemd-notify' : `systemd-notify ended with ${status}`,
      )
    },
    close: end,
  }
}

/** The next line; undefined when the shell ends or the limit is over. */
function answer(shell: Shell, clock: Clock): Promise<string | undefined> {
  return new Promise((resolve) => {
    const done = (status: string | undefined) => {
      cancel()
      shell.stdout.off('data', onData).off('close', onClose)
      resolve(status)
    }
    const onData = (chunk: Buffer) => done(chunk.toString('latin1').trim())
    const onClose = () => done(undefined)
    const cancel = clock.after(ANSWER_LIMIT_MS, onClose)
    shell.stdout.on('data', onData).on('close', onClose)
  })
}
