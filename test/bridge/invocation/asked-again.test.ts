import { expect, test } from 'vitest'
import { AskedAgain, type Asker } from '../../../src/bridge/invocation/asked-again.ts'
import { KeyedInvocations } from '../../../src/bridge/invocation/idempotency.ts'
import type { InvocationWish, InvokeAnswer } from '../../../src/bridge/invocation/open-invocation.ts'
import type { VerbCaller } from '../../../src/bridge/verb-context.ts'
import type { InvocationRecord } from '../../../src/domain/invocations.ts'
import { Refusal } from '../../../src/kernel/errors.ts'

const WISH = { fingerprint: 'f' } as InvocationWish
const ANSWER: InvokeAnswer = { invocationId: 'iv_1', nodeId: 'cam1', data: 1 }

function caller(name: string, more: Partial<VerbCaller> = {}): VerbCaller {
  return { name, alive: () => true, ...more } as VerbCaller
}

const settled = () => new Promise((resolve) => setImmediate(resolve))
const codeOf = (error: unknown) => (error instanceof Refusal ? error.code : undefined)

test('64 requests of a principal wait for invocations under way, 1000 of all, and those of sessions that are gone give way', async () => {
  const asking = new AskedAgain()
  const askers = new Set<Asker>()
  const gone: unknown[] = []
  let isAlive = true
  const first = caller('bot0', { alive: () => isAlive })
  for (let i = 0; i < 64; i++) asking.enter(first, askers).catch((error: unknown) => gone.push(codeOf(error)))
  expect(() => asking.enter(first, askers)).toThrow('ask again with the same key')
  isAlive = false
  const waits = asking.enter(caller('bot0'), askers)
  await Promise.resolve()
  expect(gone).toEqual(Array.from({ length: 64 }, () => 'too_many_requests'))
  expect(askers.size).toBe(1)
  const others = Array.from({ length: 999 }, (_, i) =>
    asking.enter(caller(`bot${1 + Math.floor(i / 64)}`), askers),
  )
  expect(() => asking.enter(caller('late'), askers)).toThrow('ask again with the same key')
  for (const { goOn } of askers) goOn()
  await Promise.all([waits, ...others])
  expect(askers.size).toBe(0)
  void asking.enter(caller('late'), askers)
  expect(askers.size).toBe(1)
})

test('at the bound of all, those of any principal whose sessions are gone give way', async () => {
  const asking = new AskedAgain()
  const askers = new Set<Asker>()
  const gone: unknown[] = []
  let isAlive = true
  for (let i = 0; i < 1000; i++) {
    const asker = caller(`bot${Math.floor(i / 50)}`, i % 2 === 0 ? { alive: () => isAlive } : {})
    asking.enter(asker, askers).catch((error: unknown) => gone.push(codeOf(error)))
  }
  expect(() => asking.enter(caller('late'), askers)).toThrow('ask again with the same key')
  isAlive = false
  const waits = asking.enter(caller('late'), askers)
  await settled()
  expect(gone).toEqual(Array.from({ length: 500 }, () => 'too_many_requests'))
  expect(askers.size).toBe(501)
  for (const { goOn } of askers) goOn()
  await waits
})

/** Invocations with keys whose answers are stored; `reads` counts how often one was read. */
function world() {
  const turns: (() => void)[] = []
  let [reads, isStored] = [0, false]
  const keyed = new KeyedInvocations({
    byKey: () => {
      if (!isStored) return Promise.resolve(undefined)
      reads++
      const record = { fingerprint: 'f', error: null } as InvocationRecord
      return Promise.resolve({ record, answer: JSON.stringify(ANSWER) })
    },
  })
  const ended = Promise.withResolvers<InvokeAnswer>()
  const run = () =>
    ended.promise.finally(() => {
      isStored = true
    })
  const turn = () => new Promise<boolean>((resolve) => turns.push(() => resolve(true)))
  const use = { run, again: () => undefined, otherInvocation: () => new Refusal('conflict', 'another') }
  const ask = (more: Partial<VerbCaller> = { turn }) => keyed.once(WISH, 'k', caller('bot', more), use)
  return { ask, ended, turns, reads: () => reads }
}

test('who asked again while it ran is answered in a turn of its own, from the store', async () => {
  const { ask, ended, turns, reads } = world()
  const first = ask()
  const again = Array.from({ length: 20 }, () => ask())
  ended.resolve(ANSWER)
  expect(await first).toEqual(ANSWER)
  await settled()
  expect(turns).toHaveLength(20)
  for (const [i, go] of turns.entries()) {
    expect(reads()).toBe(i)
    go()
    expect(await again[i]).toEqual(ANSWER)
  }
})

test('who asked again is told the error that it ended with, also when there is no turn for it', async () => {
  const { ask, ended, turns } = world()
  const first = ask()
  const [again, hasNoTurn] = [ask(), ask({ turn: () => Promise.resolve(false) })]
  ended.reject(new Refusal('node_error', 'the lens is covered'))
  const told = Promise.allSettled([first, again, hasNoTurn])
  await settled()
  for (const go of turns) go()
  const codes = (await told).map((each) => each.status === 'rejected' && codeOf(each.reason))
  expect(codes).toEqual(['node_error', 'node_error', 'node_error'])
})

test('who asked again is told to ask once more when there is no turn for the answer', async () => {
  const { ask, ended, reads } = world()
  const first = ask()
  const hasNoTurn = ask({ turn: () => Promise.resolve(false) })
  ended.resolve(ANSWER)
  expect(await first).toEqual(ANSWER)
  await expect(hasNoTurn).rejects.toMatchObject({ code: 'too_many_requests' })
  expect(reads()).toBe(0)
})
