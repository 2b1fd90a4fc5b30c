import assert from 'node:assert'
import { createRequire } from 'node:module'
import { expect, test } from 'vitest'

type Body = (t: unknown) => Promise<void> | void
type Abstract = (options: {
  test: (name: string, body: Body) => void
  persistence: () => unknown
  testAsync: true
}) => void

const abstract = createRequire(import.meta.url)('aedes-persistence/abstract') as Abstract

/** Runs the public suite of aedes-persistence, which is written for node:test, as tests of vitest. Returns their number. */
export function runPublicSuite(persistence: () => unknown): number {
  let tests = 0
  abstract({
    persistence,
    testAsync: true,
    test(name, body) {
      tests++
      test(name, async () => {
        const context = new Context()
        await body(context)
        context.end()
      })
    },
  })
  return tests
}

/** The part of node:test's context that the suite uses. */
class Context {
  readonly assert: typeof assert
  #planned: number | undefined
  #made = 0

  constructor() {
    this.assert = new Proxy(assert, {
      get: (target, name) => {
        this.#made++
        return Reflect.get(target, name)
      },
    })
  }

  plan(count: number): void {
    this.#planned = count
  }

  diagnostic(): void {}

  end(): void {
    if (this.#planned !== undefined) expect(this.#made).toBe(this.#planned)
  }
}
