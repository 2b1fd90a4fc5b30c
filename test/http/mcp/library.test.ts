import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { loadInParts, loadLibrary, makeSchemas } from '../../../src/mcp/library.ts'

/** Returns the turn of the event loop in which each call of `note` came. */
async function turnsOf(work: (note: () => void) => Promise<void>): Promise<readonly number[]> {
  let turns = 0
  let counting = true
  const count = async () => {
    while (counting) {
      await turn()
      turns++
    }
  }
  const counted = count()
  const noted: number[] = []
  await work(() => noted.push(turns))
  counting = false
  await counted
  return noted
}

test('each part of the library is loaded in a turn of the event loop of its own', async () => {
  const loadedIn = await turnsOf((note) => loadInParts(Array.from({ length: 3 }, () => async () => note())))
  expect(new Set(loadedIn).size).toBe(3)
})

test('no part is loaded in the turn in which it was asked for', async () => {
  let loaded = 0
  const asked = Promise.withResolvers<number>()
  // A timer's call comes before the immediates of its turn.
  setTimeout(() => {
    void loadInParts([async () => loaded++])
    setImmediate(() => asked.resolve(loaded))
  })
  expect(await asked.promise).toBe(0)
  while (loaded === 0) await turn()
})

test('the schemas of each revision are made in a turn of their own, before the first request', async () => {
  const sdk = await loadLibrary()
  const answers: boolean[] = []
  const madeIn = await turnsOf((note) =>
    makeSchemas({
      async isLegacyRequest(request, body) {
        note()
        answers.push(await sdk.isLegacyRequest(request, body))
        return false
      },
      preloadSchemas: note,
    }),
  )
  expect(new Set(madeIn).size).toBe(2)
  // It is of the newest revision, whose schemas it is to make.
  expect(answers).toEqual([false])
})

test('the library is loaded once, whoever asks for it', async () => {
  const [first, second] = await Promise.all([loadLibrary(), loadLibrary()])
  expect(first).toBe(second)
  expect(first.Server).toBeTypeOf('function')
})
