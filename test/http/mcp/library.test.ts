import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { loadInParts, loadLibrary } from '../../../src/mcp/library.ts'

test('each part of the library is loaded in a turn of the event loop of its own', async () => {
  let turns = 0
  let counting = true
  const count = async () => {
    while (counting) {
      await turn()
      turns++
    }
  }
  const counted = count()
  const loadedIn: number[] = []
  await loadInParts(Array.from({ length: 3 }, () => async () => loadedIn.push(turns)))
  counting = false
  await counted
  expect(new Set(loadedIn).size).toBe(3)
})

test('the library is loaded once, whoever asks for it', async () => {
  const [first, second] = await Promise.all([loadLibrary(), loadLibrary()])
  expect(first).toBe(second)
  expect(first.Server).toBeTypeOf('function')
})
