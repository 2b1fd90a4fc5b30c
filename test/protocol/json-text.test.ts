import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isJson, keyOfPlace, partBeyond } from '../../src/protocol/json-text.ts'

const parses = (text: string) => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

const json = fc
  .tuple(fc.jsonValue({ maxDepth: 4 }), fc.constantFrom(undefined, 1, '\n\t'))
  .map(([value, space]) => JSON.stringify(value, null, space))
/** Bytes that mean something in JSON. */
const piece = fc.constantFrom(
  ...'[]{}",:.\\/+-0123456789eEabcdefntru \t\r\n\u0001',
  ...[
    'true',
    'false',
    'null',
    '\\u00e9',
    '\\uD800',
    '1.5e-3',
    '-0',
    '01',
    '{"a":',
    '[1,',
    '\ufeff',
    '\u00a0',
    'é',
  ],
)

test('what is JSON for JSON.parse is JSON here, and nothing else', () => {
  fc.assert(
    fc.property(json, (text) => {
      expect(isJson(Buffer.from(text))).toBe(true)
    }),
  )
  const spoilt = fc
    .tuple(json, fc.nat(), fc.nat(3), fc.array(piece, { maxLength: 2 }))
    .map(([text, at, gone, put]) => {
      const from = at % (text.length + 1)
      return text.slice(0, from) + put.join('') + text.slice(from + gone)
    })
  const made = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''))
  fc.assert(
    fc.property(fc.oneof(spoilt, made), (text) => {
      // As everybody decodes it, a mark of the order of bytes left out.
      const bytes = Buffer.from(text)
      expect(isJson(bytes)).toBe(parses(new TextDecoder().decode(bytes)))
    }),
    { numRuns: 20_000 },
  )
})

test.each([
  '',
  ' ',
  '[',
  ']',
  '[1',
  '[1,',
  '[1,]',
  '[,1]',
  '{}',
  '{"a"}',
  '{"a":}',
  '{"a":1,}',
  '{1:2}',
  '[}',
  '{]',
  '[1 2]',
  '1 2',
  '-',
  '1.',
  '.5',
  '1e',
  '1e+',
  '0x1',
  '00',
  '-01',
  '1E-07',
  'tru',
  'truex',
  'nul',
  '"',
  '"\\',
  '"\\u12',
  '"\\u12g4"',
  '"\\x"',
  '"\u007f"',
  '[[]]]',
])('%j is judged as JSON.parse does', (text) => {
  expect(isJson(Buffer.from(text))).toBe(parses(text))
})

test('depth costs no stack', () => {
  const depth = 600_000
  const text = '['.repeat(depth) + ']'.repeat(depth)
  expect(isJson(Buffer.from(text))).toBe(true)
  expect(isJson(Buffer.from(`${text}]`))).toBe(false)
  expect(isJson(Buffer.from(text.slice(1)))).toBe(false)
})

/** The parts of a value in tenths. */
function tenthsOf(value: unknown): number {
  if (typeof value === 'string') return 10
  if (typeof value !== 'object' || value === null) return 0
  const members = Object.values(value)
  const keys = Array.isArray(value) ? 0 : 10 * members.length
  return members.reduce(
    (sum: number, each) => sum + tenthsOf(each),
    10 + keys + Math.max(0, members.length - 1),
  )
}

test('objects, lists and texts are counted, and what looks like them in a text is not', () => {
  fc.assert(
    fc.property(json, (text) => {
      const tenths = tenthsOf(JSON.parse(text))
      expect(partBeyond(Buffer.from(text), Math.ceil(tenths / 10))).toBeUndefined()
      if (tenths > 0) expect(partBeyond(Buffer.from(text), Math.ceil(tenths / 10) - 1)).toBeTypeOf('number')
    }),
  )
  expect(partBeyond(Buffer.from('["[[[{{{,,\\"[[["]'), 2)).toBeUndefined()
})

test('the key in whose value a place is, is found', () => {
  const key = (text: string, place: number) =>
    Buffer.from(keyOfPlace(Buffer.from(text), place) ?? 'none').toString()
  const text = '{"a": [{"x": 1}], "b\\"": {"y": ":"}, "c": 2}'
  expect(key(text, text.indexOf('x'))).toBe('a')
  expect(key(text, text.indexOf('y'))).toBe('b\\"')
  expect(key(text, text.indexOf('2'))).toBe('c')
  expect(key('[[[[1', 4)).toBe('none')
})
