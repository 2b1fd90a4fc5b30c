import fc from 'fast-check'
import { expect, test } from 'vitest'
import { patience } from '../support/patience.ts'
import { fuzz } from './fuzz.ts'
import { mutated, segments } from './mutate.ts'
import { Random } from './random.ts'
import { bytesOf, script } from './script.ts'

/** The short form of `npm run test:fuzz`. */
test('the bridge survives twenty seconds of broken MQTT, and holds nothing of it', {
  timeout: patience(120_000),
}, async () => {
  const result = await fuzz({ seed: 311, milliseconds: 20_000, rounds: 6 })
  expect(result.rounds).toBeGreaterThan(5)
  expect(result.packets).toBeGreaterThan(result.rounds)
})

test('a seed says the same again', () => {
  const said = (seed: number) => {
    const random = new Random(seed)
    return bytesOf(Array.from({ length: 20 }, () => script(random)))
  }
  expect(said(7)).toBe(said(7))
  expect(said(7)).not.toBe(said(8))
})

test('segments are the stream, and a mutation is never empty', () => {
  fc.assert(
    fc.property(fc.integer(), fc.uint8Array({ minLength: 1, maxLength: 600 }), (seed, bytes) => {
      const random = new Random(seed)
      const stream = Buffer.from(bytes)
      expect(Buffer.concat(segments(random, stream))).toEqual(stream)
      expect(mutated(random, stream).length).toBeGreaterThan(0)
    }),
  )
})
