import { Ajv2020 } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { problemInValue } from '../../src/domain/value-schema.ts'
import { descriptionSchema, type ValueSchema, valueSchema } from '../../src/protocol/descriptions.ts'

const LAMP: ValueSchema = {
  type: 'object',
  properties: {
    brightness: { type: 'integer', minimum: 0, maximum: 100, unit: '%' },
    color: { type: 'object', properties: { r: { type: 'number', maximum: 1 } }, required: ['r'] },
    mode: { enum: ['steady', 'blink', 3] },
    steps: { type: 'array', items: { type: 'number', multipleOf: 0.1 }, maxItems: 3 },
    name: { type: 'string', minLength: 1, maxLength: 4 },
  },
  required: ['brightness'],
}

describe('a value is checked against the schema of a description', () => {
  it.each([
    [{}, 'params.brightness', 'is missing'],
    [{ brightness: '7' }, 'params.brightness', 'must be an integer, not a string'],
    [{ brightness: 7.5 }, 'params.brightness', 'must be an integer, not 7.5'],
    [{ brightness: 101 }, 'params.brightness', 'must be at most 100 %, not 101'],
    [{ brightness: -1 }, 'params.brightness', 'must be at least 0 %, not -1'],
    [{ brightness: 1, color: {} }, 'params.color.r', 'is missing'],
    [{ brightness: 1, color: { r: 2 } }, 'params.color.r', 'must be at most 1, not 2'],
    [{ brightness: 1, mode: 'fade' }, 'params.mode', 'must be one of "steady", "blink", 3'],
    [{ brightness: 1, steps: [0.3, 0.25] }, 'params.steps[1]', 'must be a multiple of 0.1, not 0.25'],
    [{ brightness: 1, steps: [1, 1, 1, 1] }, 'params.steps', 'must have 3 items or fewer, not 4'],
    [{ brightness: 1, name: '' }, 'params.name', 'must have 1 characters or more, not 0'],
    [[], 'params', 'must be an object, not an array'],
    [null, 'params', 'must be an object, not null'],
  ])('%j is refused at %s: %s', (value, path, message) => {
    expect(problemInValue(LAMP, value, 'params')).toEqual({ path, message })
  })

  it('accepts what fits, also what the schema does not name, and counts characters as people do', () => {
    const value = { brightness: 100, steps: [0.3, 0.7], name: '👩‍👩‍👧'.slice(0, 2), extra: { any: 'thing' } }
    expect(problemInValue(LAMP, value)).toBeUndefined()
  })

  it('is not fooled by what every object inherits', () => {
    const schema: ValueSchema = {
      type: 'object',
      properties: { a: {} },
      required: ['toString', 'constructor'],
    }
    expect(problemInValue(schema, {})).toMatchObject({ path: 'toString' })
    const inherited: ValueSchema = JSON.parse('{"properties": {"valueOf": {"type": "string"}}}')
    expect(problemInValue(inherited, {})).toBeUndefined()
  })

  it('agrees with a whole validator of JSON Schema 2020-12', () => {
    const ajv = new Ajv2020({ strict: false, allErrors: false })
    const { schema } = fc.letrec<{ schema: ValueSchema }>((tie) => ({
      schema: fc.record(
        {
          type: fc.constantFrom('object', 'array', 'string', 'number', 'integer', 'boolean', 'null'),
          minimum: fc.integer({ min: -5, max: 0 }),
          maximum: fc.integer({ min: 1, max: 5 }),
          minLength: fc.integer({ min: 0, max: 2 }),
          maxItems: fc.integer({ min: 0, max: 3 }),
          enum: fc.array(fc.constantFrom('a', 'b', 1, 2, true, null), { minLength: 1, maxLength: 3 }),
          required: fc.uniqueArray(fc.constantFrom('a', 'b')),
          items: fc.oneof({ maxDepth: 2 }, fc.constant({}), tie('schema')),
          properties: fc.dictionary(
            fc.constantFrom('a', 'b'),
            fc.oneof({ maxDepth: 2 }, fc.constant({}), tie('schema')),
          ),
        },
        { requiredKeys: [] },
      ) as unknown as fc.Arbitrary<ValueSchema>,
    }))
    const value = fc.jsonValue({ maxDepth: 2 })
    fc.assert(
      fc.property(schema, value, (each, tried) => {
        expect(problemInValue(each, tried) === undefined).toBe(ajv.validate(each as object, tried))
        ajv.removeSchema()
      }),
      { numRuns: 300 },
    )
  })
})

describe('a schema', () => {
  it('with what is not supported is refused by name, so that nobody relies on it', () => {
    for (const key of ['$ref', 'pattern', 'allOf', 'if']) {
      expect(valueSchema.safeParse(JSON.parse(`{"type": "string", "${key}": "x"}`)).success).toBe(false)
    }
  })

  it('is bounded in depth and in bytes', () => {
    const nested = (levels: number): ValueSchema => (levels === 0 ? {} : { items: nested(levels - 1) })
    const described = (input: ValueSchema) =>
      descriptionSchema.safeParse({ commands: [{ name: 'x', input: { properties: { a: input } } }] }).success
    expect(described(nested(4))).toBe(true)
    expect(described(nested(5))).toBe(false)
    const commands = Array.from({ length: 60 }, (_, i) => ({ name: `c${i}`, description: 'x'.repeat(400) }))
    expect(descriptionSchema.safeParse({ commands }).success).toBe(false)
  })
})
