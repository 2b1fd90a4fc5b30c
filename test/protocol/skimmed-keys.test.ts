import fc from 'fast-check'
import { expect, onTestFinished, test, vi } from 'vitest'
import { SkimmedKeys } from '../../src/protocol/skimmed-keys.ts'

const WANTED = ['invocationId', 'success', 'transaction']

/** Feeds a text in pieces that end at `cuts`. */
function skimmed(text: string, cuts: readonly number[] = []): unknown[] {
  const bytes = Buffer.from(text)
  const keys = new SkimmedKeys(WANTED)
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  let at = 0
  for (const end of [...ends, bytes.length]) {
    keys.feed(bytes.subarray(at, end))
    at = end
  }
  return WANTED.map((key) => keys.get(key))
}

const key = fc.oneof(fc.constantFrom(...WANTED), fc.string({ maxLength: 5 }))
const value = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom('iv_1', '\\"', '"}', 'a\\', '\u00fc\u{1f600}', 7, true, null, { invocationId: 'inner' }),
)

test('what it finds at the top level is what JSON.parse finds there, however the text is cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(key, value), { maxLength: 8 }),
      fc.constantFrom(undefined, 1, '\n\t'),
      fc.array(fc.nat(), { maxLength: 12 }),
      (entries, space, cuts) => {
        const text = JSON.stringify(Object.fromEntries(entries), null, space)
        const parsed = JSON.parse(text)
        const expected = WANTED.map((name) => {
          const found = Object.hasOwn(parsed, name) ? parsed[name] : undefined
          return typeof found === 'object' && found !== null ? undefined : found
        })
        expect(skimmed(text, cuts)).toEqual(expected)
      },
    ),
    { numRuns: 500 },
  )
})

test.each([
  ['escapes in the key', '{"invocation\\u0049d": "iv_1"}', 'iv_1'],
  ['the key twice: the last one counts', '{"invocationId": "iv_0", "invocationId": "iv_1"}', 'iv_1'],
  ['a value that is a list', '{"invocationId": ["iv_1"]}', undefined],
  ['a value that is not short', `{"invocationId": "${'x'.repeat(500)}"}`, undefined],
  ['the key one level down', '{"data": {"invocationId": "iv_1"}}', undefined],
  ['the key in a text', '{"data": "\\"invocationId\\": \\"iv_1\\""}', undefined],
  ['a list', '[{"invocationId": "iv_1"}]', undefined],
  ['what stands behind the object', '{"data": 1} {"invocationId": "iv_1"}', undefined],
  ['no JSON', '\u00ff\u00d8{"invocationId": "iv_1"}', undefined],
  ['nothing', '', undefined],
])('%s', (_what, text, expected) => {
  expect(skimmed(text)[0]).toBe(expected)
  expect(
    skimmed(
      text,
      Array.from({ length: text.length }, (_, i) => i),
    )[0],
  ).toBe(expected)
})

test.each([
  ['megabytes of colons', `{${':'.repeat(4_000_000)}`],
  ['a million keys that nobody wants', `{${'"a":1,'.repeat(1_000_000)}`],
  ['a million objects', `{${'"a":{},'.repeat(1_000_000)}`],
])('%s are read over without being parsed', (_what, text) => {
  const parse = vi.spyOn(JSON, 'parse')
  onTestFinished(() => parse.mockRestore())
  skimmed(text)
  expect(parse.mock.calls.length).toBeLessThan(5)
})
