import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { Refusal } from '../../src/kernel/errors.ts'
import { check, decodeRegistration, parseJson, pathText } from '../../src/protocol/decode.ts'
import { encodeJson, encodeWord, NOTHING } from '../../src/protocol/encode.ts'
import { LIMITS } from '../../src/protocol/limits.ts'

const utf8 = (text: string) => new TextEncoder().encode(text)

describe('bytes that are not what they should be', () => {
  it.each([
    ['an overlong encoding', [0x22, 0xc0, 0xaf, 0x22]],
    ['a lone continuation byte', [0x22, 0x80, 0x22]],
    ['an encoded surrogate', [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ['a sequence that breaks off', [0x22, 0xe2, 0x82]],
    ['Latin-1', [0x22, 0xe9, 0x22]],
    ['UTF-16', [0xff, 0xfe, 0x7b, 0x00]],
  ])('are refused as not UTF-8: %s', (_what, list) => {
    expect(() => parseJson(Uint8Array.from(list), 100)).toThrow(/not UTF-8/)
  })

  it.each([
    '',
    ' ',
    '{',
    '{"a":1,}',
    "{'a':1}",
    'undefined',
    'NaN',
    '{"a":1}{"b":2}',
    '\u0000',
    '{"a":\n"\n"}',
  ])('are refused as not JSON: %j', (text) => {
    expect(() => parseJson(utf8(text), 100)).toThrow(/not JSON/)
  })

  it('are refused by their length before anything looks into them', () => {
    expect(parseJson(utf8('"12345678"'), 10)).toBe('12345678')
    expect(() => parseJson(utf8('"123456789"'), 10)).toThrow('11 bytes; the limit is 10')
    expect(() => decodeRegistration(new Uint8Array(LIMITS.registrationBytes + 1))).toThrow(/the limit is/)
  })

  it('are refused by what is in them before anything is made of it', () => {
    const lists = (count: number) => `[${Array.from({ length: count - 1 }, () => '[]').join(',')}]`
    const max = LIMITS.jsonParts
    const most = Math.floor((max * 10) / 11)
    expect(parseJson(utf8(lists(most)), 1_000_000)).toHaveLength(most - 1)
    expect(() => parseJson(utf8(lists(most + 2)), 1_000_000)).toThrow(
      /^the payload has more than \d+ objects/,
    )
    expect(() => parseJson(utf8(`{"a":1,"params":${lists(max)}}`), 1_000_000)).toThrow(
      expect.objectContaining({ path: 'params', message: expect.stringMatching(/^params: has more than/) }),
    )
    // Numbers are cheap.
    expect(parseJson(utf8(`[${'1,'.repeat(200_000)}1]`), 1_000_000)).toHaveLength(200_001)
    expect(() => parseJson(utf8(`[${'1,'.repeat(250_000)}1]`), 1_000_000)).toThrow(/ten numbers/)
  })

  it('may be nested as deep as a packet can hold without harm', () => {
    const depth = LIMITS.registrationBytes / 2
    const deep = utf8('['.repeat(depth) + ']'.repeat(depth))
    expect(() => decodeRegistration(deep)).toThrow(Refusal)
  })

  it('never end in anything but a value or a refusal', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.json().map(utf8)), (payload) => {
        try {
          decodeRegistration(payload)
        } catch (error) {
          expect(error).toBeInstanceOf(Refusal)
          expect((error as Refusal).code).toBe('invalid_request')
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('a path', () => {
  it.each([
    [[], ''],
    [['displayName'], 'displayName'],
    [['capabilities', 0, 'cap'], 'capabilities[0].cap'],
    [['nodes', 12, 'capabilities', 3, 'commands', 0], 'nodes[12].capabilities[3].commands[0]'],
    [[0], '[0]'],
  ])('of %j is written %j', (path, text) => {
    expect(pathText(path)).toBe(text)
  })

  it('stands in the message and beside it', () => {
    const schema = z.object({ a: z.object({ b: z.array(z.int()) }) })
    try {
      check(schema, { a: { b: [1, 'x'] } })
      expect.unreachable()
    } catch (error) {
      expect((error as Refusal).body()).toEqual({
        code: 'invalid_request',
        message: expect.stringMatching(/^a\.b\[1\]: /),
        path: 'a.b[1]',
      })
    }
  })
})

describe('a payload of the bridge', () => {
  it('comes back as the value it was made from', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const sent = encodeJson(value)
        expect(parseJson(sent, sent.length)).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })

  it('is empty only on purpose, because an empty retained payload deletes', () => {
    expect(NOTHING).toHaveLength(0)
    expect(() => encodeWord('')).toThrow(TypeError)
    expect(() => encodeJson(undefined as unknown as object)).toThrow(TypeError)
    expect(encodeJson({}).length).toBeGreaterThan(0)
  })
})
