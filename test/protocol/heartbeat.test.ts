import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeHeartbeat, fastHeartbeat } from '../../src/protocol/heartbeat.ts'
import { LIMITS } from '../../src/protocol/limits.ts'
import { STATUSES } from '../../src/protocol/names.ts'
import { heartbeatSchema } from '../../src/protocol/schemas.ts'

const utf8 = (text: string) => new TextEncoder().encode(text)
const bytes = (value: unknown) => utf8(typeof value === 'string' ? value : JSON.stringify(value))
const many = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i))
const numbers = (count: number) => Object.fromEntries(many(count, (i) => [`m${i}`, i]))

/** What of a payload is taken, and what is told. */
function decoded(payload: Uint8Array) {
  const { unusable, ...taken } = { unusable: undefined, ...decodeHeartbeat(payload) }
  return { taken, keeps: unusable?.keeps, path: unusable?.refusal.path, told: unusable?.refusal.message }
}

describe('a heartbeat', () => {
  it.each([
    ['that says nothing', {}],
    ['with a status', { status: 'busy' }],
    ['with a goodbye', { status: 'offline' }],
    ['with an ability that is out of order', { unavailable: ['camera', 'arm.left'] }],
    ['with numbers', { metrics: { temperature: 21.5, 'cpu.load_1-m': 0, rssi: -67 } }],
    ['with the name that a sensor on a bus has', { metrics: { '28-0316a4': 21.5 } }],
    ['with names that people write', { metrics: { 'Außen links': 3, 温度: 4, '/': 5, constructor: 6 } }],
    ['with as many numbers as it may have', { metrics: numbers(64) }],
  ])('is taken %s', (_what, value) => {
    expect(decoded(bytes(value))).toEqual({ taken: value })
  })

  it.each([
    ['nothing', ''],
    ['a line feed', '\n'],
    ['a line of a DOS file', '\r\n'],
    ['a NUL', '\0'],
    ['a byte order mark', '\ufeff'],
    ['a key of a newer firmware', { mood: 'good' }],
    ['spaces up to the greatest length', '{}'.padEnd(LIMITS.heartbeatBytes)],
  ])('may be %s', (_what, value) => {
    expect(decoded(bytes(value))).toEqual({ taken: {} })
  })

  it.each([
    ['the NUL of a string in C', '{"status":"busy"}\0'],
    ['several of them', '{"status":"busy"}\0\0\0'],
    ['a line feed', '{"status":"busy"}\n'],
    ['a byte order mark before it', '\ufeff{"status":"busy"}'],
    ['a key twice', '{"status":"online","status":"busy"}'],
  ])('is taken with %s', (_what, text) => {
    expect(decoded(utf8(text))).toEqual({ taken: { status: 'busy' } })
  })

  it.each([
    ['null, as ArduinoJson writes NaN', '{"metrics":{"t":null,"h":5}}', 'metrics.t'],
    ['NaN, as Python writes it', '{"metrics":{"t":NaN,"h":5}}', 'metrics.t'],
    ['-nan, as printf writes it', '{"metrics":{"t":-nan,"h":5}}', 'metrics.t'],
    ['Infinity', '{"metrics":{"t":-Infinity,"h":5}}', 'metrics.t'],
    ['a number beyond every number', '{"metrics":{"t":1e999,"h":5}}', 'metrics.t'],
    ['a text', { metrics: { t: '21', h: 5 } }, 'metrics.t'],
    ['a truth', { metrics: { t: true, h: 5 } }, 'metrics.t'],
    ['an object', { metrics: { t: { value: 1 }, h: 5 } }, 'metrics.t'],
    ['a deep list', `{"metrics":{"t":${'['.repeat(1500)}${']'.repeat(1500)},"h":5}}`, 'metrics.t'],
    ['an empty name', { metrics: { '': 1, h: 5 } }, 'metrics.'],
    ['a blank name', { metrics: { ' \u3164': 1, h: 5 } }, 'metrics. \\u{3164}'],
    ['a name with a line feed', { metrics: { 'a\nb': 1, h: 5 } }, 'metrics.a\\nb'],
    ['a long name', { metrics: { ['x'.repeat(64)]: 1, h: 5 } }, `metrics.${'x'.repeat(63)}`],
    ['__proto__', '{"metrics":{"__proto__":1,"h":5}}', 'metrics.__proto__'],
    ['__proto__ as an object', '{"metrics":{"__proto__":{"x":1},"h":5}}', 'metrics.__proto__'],
    ['an unknown status', { status: 'sleeping', metrics: { h: 5 } }, 'status'],
    ['a status that is null', { status: null, metrics: { h: 5 } }, 'status'],
    ['an inherited name as status', { status: 'constructor', metrics: { h: 5 } }, 'status'],
    ['unavailable that is a text', { unavailable: 'camera', metrics: { h: 5 } }, 'unavailable'],
  ])('that has %s is taken without it, and that is told', (_what, value, path) => {
    const { taken, path: told } = decoded(bytes(value))
    expect(taken).toEqual({ metrics: { h: 5 } })
    expect(Object.getPrototypeOf('metrics' in taken && taken.metrics)).toBe(Object.prototype)
    expect(told).toBe(path)
  })

  it('is taken with its words in Latin-1, but for those', () => {
    const payload = Buffer.from('{"status":"busy","metrics":{"W\xe4rme":1,"t":2}}', 'latin1')
    const { taken, told } = decoded(payload)
    expect(taken).toEqual({ status: 'busy', metrics: { t: 2, 'W\ufffdrme': 1 } })
    expect(told).toMatch(/not UTF-8/)
  })

  it('has the usable names of a list taken', () => {
    const { taken, path, keeps } = decoded(bytes({ unavailable: ['camera', 'a b', 7, null, 'arm'] }))
    expect(taken).toEqual({ unavailable: ['camera', 'arm'] })
    expect([path, keeps]).toEqual(['unavailable[1]', []])
  })

  it('has the first of too many taken', () => {
    const { taken } = decoded(bytes({ metrics: numbers(65), unavailable: many(65, (i) => `c${i}`) }))
    expect(taken).toEqual({ metrics: numbers(64), unavailable: many(64, (i) => `c${i}`) })
  })

  it.each([
    ['text', 'alive'],
    ['half of an object', '{"status":"bu'],
    ['a list', '[1,2]'],
    ['null', 'null'],
    ['a number', '42'],
    ['two objects', '{}{}'],
    ['a list as deep as it can be', '['.repeat(2048) + ']'.repeat(2048)],
    ['random bytes', Buffer.from([0, 255, 254, 1, 2, 3])],
    ['more than it may be', 'x'.repeat(LIMITS.heartbeatBytes + 1)],
  ])('that is %s is a sign of life, undoes nothing, and is told', (_what, value) => {
    const payload = typeof value === 'string' ? utf8(value) : value
    const { taken, keeps, told } = decoded(payload)
    expect(taken).toEqual({})
    expect(keeps).toEqual(['status', 'unavailable'])
    expect(told).toMatch(/counts as a sign of life/)
    expect(told?.length).toBeLessThan(300)
  })

  it('is told of with all that is wrong, bounded', () => {
    const metrics = Object.fromEntries(many(60, (i) => [`m${i}`, null]))
    const { unusable } = { unusable: undefined, ...decodeHeartbeat(bytes({ metrics })) }
    expect(unusable?.refusal.message).toMatch(/^metrics\.m0: .* \(and 59 more\); the rest/)
    expect(JSON.stringify(unusable?.refusal.body()).length).toBeLessThan(2000)
  })

  it('is never refused', () => {
    const anything = fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.json().map(utf8))
    fc.assert(
      fc.property(anything, (payload) => {
        const { taken } = decoded(payload)
        expect(heartbeatSchema.safeParse(taken).success).toBe(true)
      }),
      { numRuns: 500 },
    )
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
