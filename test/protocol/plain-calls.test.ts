import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fastInvoke, fastResult } from '../../src/protocol/fast-invocations.ts'
import { invocationResultSchema } from '../../src/protocol/schemas.ts'
import { VERBS } from '../../src/protocol/verbs.ts'

const odd = fc.constantFrom(
  '',
  'a',
  'r1',
  'cam.snap',
  '-a',
  'a b',
  'a'.repeat(64),
  'a'.repeat(65),
  'http://x/1.jpg',
)
const json = fc.oneof(
  fc.jsonValue(),
  fc.constant(Number.POSITIVE_INFINITY),
  fc.constant([{ a: [-Infinity] }]),
)
const any = fc.oneof(odd, json)
const some = (keys: Record<string, fc.Arbitrary<unknown>>) => fc.record(keys, { requiredKeys: [] })

const result = some({
  invocationId: any,
  success: fc.oneof(fc.boolean(), json),
  data: json,
  artifactUri: odd,
  error: json,
  other: json,
})
const invoke = some({
  nodeId: any,
  capability: any,
  command: any,
  params: json,
  timeoutSeconds: any,
  waitSeconds: fc.constantFrom(0, 7, '7'),
  idempotencyKey: any,
  other: json,
})

describe('the common form of a call', () => {
  it.each([
    ['result', result, fastResult, invocationResultSchema],
    ['invoke', invoke, fastInvoke, VERBS.invoke.args],
  ] as const)('is read by hand as its schema reads it: %s', (_name, values, plain, schema) => {
    fc.assert(
      fc.property(fc.oneof({ weight: 9, arbitrary: values }, fc.jsonValue()), (value) => {
        const quick = plain(value)
        if (quick === undefined) return
        const slow = schema.safeParse(value)
        expect(slow.success && slow.data).toEqual(quick)
      }),
      { numRuns: 3000 },
    )
  })

  it('is the one that most calls have', () => {
    const asked = { nodeId: 'r1', command: 'camera.snap', params: { zoom: 2 } }
    expect(fastInvoke(asked)).toEqual(asked)
    expect(fastInvoke({ ...asked, parameters: {} })).toBeUndefined()
    const answered = { invocationId: 'iv_1', success: true, data: { seen: 'cat' } }
    expect(fastResult(answered)).toEqual(answered)
    expect(fastResult({ ...answered, success: false })).toBeUndefined()
    expect(fastResult({ ...answered, data: [Number.POSITIVE_INFINITY] })).toBeUndefined()
  })
})
