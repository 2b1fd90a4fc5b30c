import { type ChildProcess, fork } from 'node:child_process'

/** Questions to a process that was forked, and its answers. */

interface Question {
  readonly id: number
  readonly name: string
  readonly args: unknown
}

type Reply = { readonly id: number; readonly value?: unknown; readonly error?: string }

export type Commands = Readonly<Record<string, (args: never) => unknown>>

/** In the child: answers until the parent is gone. */
export function serveCommands(commands: Commands): void {
  process.on('message', ({ id, name, args }: Question) => {
    const run = async () => await commands[name]?.(args as never)
    run().then(
      (value) => process.send?.({ id, value } satisfies Reply),
      (error: unknown) => process.send?.({ id, error: String(error) } satisfies Reply),
    )
  })
  process.on('disconnect', () => process.exit(0))
}

type Args<F> = F extends (args: infer A) => unknown ? A : never
type Value<F> = F extends (args: never) => infer R ? Awaited<R> : never

/** A forked process that answers `C`. */
export class Worker<C extends Commands> {
  readonly pid: number
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (e: Error) => void }>()
  readonly #ended: Promise<void>
  #lastId = 0

  constructor(module: URL, argv: readonly string[] = []) {
    this.#child = fork(module, argv, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.pid = this.#child.pid ?? 0
    this.#child.on('message', (reply: Reply) => {
      const waiting = this.#waiting.get(reply.id)
      this.#waiting.delete(reply.id)
      if (reply.error !== undefined) waiting?.reject(new Error(reply.error))
      else waiting?.resolve(reply.value)
    })
    this.#ended = new Promise((resolve) => {
      this.#child.on('exit', (code, signal) => {
        for (const { reject } of this.#waiting.values())
          reject(new Error(`${module.pathname} ended (${code ?? signal})`))
        this.#waiting.clear()
        resolve()
      })
    })
  }

  ask<N extends keyof C & string>(name: N, args: Args<C[N]>): Promise<Value<C[N]>> {
    return new Promise<unknown>((resolve, reject) => {
      const id = ++this.#lastId
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, name, args } satisfies Question, (error) => {
        if (error) reject(error)
      })
    }) as Promise<Value<C[N]>>
  }

  async end(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL')
    await this.#ended
  }
}
