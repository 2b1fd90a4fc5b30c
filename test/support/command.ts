import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { patience } from './patience.ts'

/** A foreign client as a child process, whose lines of output can be awaited. */
export class Command implements AsyncDisposable {
  readonly child: ChildProcess
  readonly lines: string[] = []
  readonly ended: Promise<number | null>
  #waiting: (() => void)[] = []

  readonly #group: boolean

  /** `group`: the command starts others in the background; they end with it. */
  constructor(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}, group = false) {
    this.#group = group
    const options: SpawnOptions = {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      detached: group,
    }
    this.child = spawn(file, args, options)
    for (const stream of [this.child.stdout, this.child.stderr]) {
      if (!stream) continue
      createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line)
        this.#wake()
      })
    }
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject)
      this.child.once('close', (code) => {
        resolve(code)
        this.#wake()
      })
    })
    this.ended.catch(() => {})
  }

  /** The first line, of those not taken yet, that matches; it is taken. */
  async line(pattern: RegExp | string, timeoutMs = patience(30_000)): Promise<string> {
    const matches = (line: string) => (typeof pattern === 'string' ? line === pattern : pattern.test(line))
    const deadline = AbortSignal.timeout(timeoutMs)
    for (;;) {
      const index = this.lines.findIndex(matches)
      if (index >= 0) return this.lines.splice(index, 1)[0] as string
      if (deadline.aborted)
        throw new Error(`no line ${pattern} within ${timeoutMs} ms; lines:\n${this.lines.join('\n')}`)
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve)
        deadline.addEventListener('abort', () => resolve(), { once: true })
      })
    }
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }

  say(line: string): void {
    this.child.stdin?.write(`${line}\n`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#group) this.#killGroup()
    else if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL')
    await this.ended.catch(() => {})
  }

  #killGroup(): void {
    try {
      if (this.child.pid !== undefined) process.kill(-this.child.pid, 'SIGKILL')
    } catch {
      // All of it has ended already.
    }
  }
}

/** Runs to its end; the exit code and all lines. */
export async function run(
  file: string,
  args: readonly string[],
): Promise<{ code: number | null; lines: string[] }> {
  await using command = new Command(file, args)
  const code = await command.ended
  return { code, lines: [...command.lines] }
}
