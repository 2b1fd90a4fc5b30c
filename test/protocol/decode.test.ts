import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { Refusal } from '../../src/kernel/errors.ts'
import {
  check,
  decodeHeartbeat,
  decodeRegistration,
  fastHeartbeat,
  parseJson,
  pathText,
} from '../../src/protocol/decode.ts'
import { encodeJson, encodeWord, NOTHING } from '../../src/protocol/encode.ts'
import { LIMITS } from '../../src/protocol/limits.ts'
import { STATUSES } from '../../src/protocol/names.ts'
import { heartbeatSchema } from '../../src/protocol/schemas.ts'

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
    expect(() => decodeHeartbeat(new Uint8Array(LIMITS.heartbeatBytes + 1))).toThrow(/the limit is 4096/)
    expect(() => decodeRegistration(new Uint8Array(LIMITS.registrationBytes + 1))).toThrow(/the limit is/)
  })

  it('may be a heartbeat of exactly the greatest length', () => {
    const padded = '{}'.padEnd(LIMITS.heartbeatBytes)
    expect(decodeHeartbeat(utf8(padded))).toEqual({})
  })

  it('may be nested as deep as a packet can hold without harm', () => {
    const depth = LIMITS.registrationBytes / 2
    const deep = utf8('['.repeat(depth) + ']'.repeat(depth))
    expect(() => decodeRegistration(deep)).toThrow(Refusal)
  })

  it('never end in anything but a value or a refusal', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.json().map(utf8)), (payload) => {
        for (const decode of [decodeHeartbeat, decodeRegistration]) {
          try {
            decode(payload)
          } catch (error) {
            expect(error).toBeInstanceOf(Refusal)
            expect((error as Refusal).code).toBe('invalid_request')
          }
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

describe('the short way of a heartbeat', () => {
  it('accepts nothing that the schema does not, and means the same', () => {
    const status = fc.oneof(fc.constantFrom(...STATUSES), fc.string(), fc.constant(null), fc.integer())
    const name = fc.oneof(
      fc.constantFrom('t', 'a.b', '__proto__', '9', 'x'.repeat(63), 'x'.repeat(64)),
      fc.string(),
    )
    const metrics = fc.oneof(
      fc.dictionary(name, fc.oneof(fc.double(), fc.string(), fc.constant(null)), { maxKeys: 70 }),
      fc.dictionary(name, fc.double(), { maxKeys: 5 }),
      fc.jsonValue(),
    )
    const heartbeat = fc.record(
      { status, metrics, unavailable: fc.array(fc.string()), other: fc.anything() },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(fc.oneof(heartbeat, fc.jsonValue()), (value) => {
        const quick = fastHeartbeat(value)
        if (quick === undefined) return
        const slow = heartbeatSchema.safeParse(value)
        expect(slow.success && slow.data).toEqual(quick)
      }),
      { numRuns: 2000 },
    )
    expect(fastHeartbeat({ status: 'online', metrics: { t: 21.5 } })).toEqual({
      status: 'online',
      metrics: { t: 21.5 },
    })
  })
})
