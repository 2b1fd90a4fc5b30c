import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { Refusal } from '../../src/kernel/errors.ts'
import { check } from '../../src/protocol/decode.ts'
import { valueSchema } from '../../src/protocol/descriptions.ts'
import { heartbeatSchema, registrationSchema } from '../../src/protocol/schemas.ts'
import { VERBS } from '../../src/protocol/verbs.ts'

const REGISTRATION = { displayName: 'Cam', platform: 'esp32', capabilities: [] }
const registration = (changes: object) => [registrationSchema, { ...REGISTRATION, ...changes }] as const
const policy = (changes: object) =>
  [
    VERBS['policy/set'].args,
    { principal: '*', nodeId: '*', capability: '*', level: 'free', ...changes },
  ] as const

function messageFor(schema: z.ZodType, value: unknown): string {
  try {
    check(schema, value)
  } catch (error) {
    expect(error).toBeInstanceOf(Refusal)
    return (error as Refusal).message
  }
  throw new Error('it was accepted')
}

const WRONG = [
  [registration({ capabilities: undefined }), 'capabilities: is missing; must be a list'],
  [registration({ displayName: 5 }), 'displayName: must be text, not a number'],
  [registration({ displayName: null }), 'displayName: must be text, not null'],
  [registration({ displayName: '' }), 'displayName: must not be empty'],
  [registration({ displayName: 'a'.repeat(101) }), 'displayName: must have at most 100 characters'],
  [registration({ capabilities: { cap: 'a' } }), 'capabilities: must be a list, not an object'],
  [registration({ capabilities: ['a'] }), 'capabilities[0]: must be an object, not text'],
  [registration({ invoke: 'htpp' }), 'invoke: must be "mqtt" or "http", not "htpp"'],
  [registration({ heartbeatSeconds: 1.5 }), 'heartbeatSeconds: must be a whole number, not 1.5'],
  [registration({ heartbeatSeconds: '15' }), 'heartbeatSeconds: must be a number, not "15"'],
  [registration({ heartbeatSeconds: 1 }), 'heartbeatSeconds: must be at least 5'],
  [registration({ heartbeatSeconds: 999_999 }), 'heartbeatSeconds: must be at most 604800'],
  [[registrationSchema, [1]], 'must be an object, not a list'],
  [[heartbeatSchema, { metrics: { t: true } }], 'metrics.t: must be a number, not true'],
  [
    [heartbeatSchema, { metrics: { '\u2800': 1 } }],
    'metrics.\u2800: the name of a metric is 1 to 63 readable characters',
  ],
  [policy({ principal: undefined }), 'principal: is missing; must be "*" or text'],
  [policy({ principal: 7 }), 'principal: must be "*" or text, not a number'],
  [
    policy({ nodeId: 'a b' }),
    'nodeId: must be 1 to 63 letters, digits, "_" or "-", the first a letter or digit',
  ],
  [policy({ level: undefined }), 'level: is missing; must be "free", "leased", "gated" or "denied"'],
  [[VERBS['audit/list'].args, { since: 'now' }], 'since: must be a time such as 2026-01-02T03:04:05.006Z'],
  [[VERBS['node/import'].args, { nodes: [] }], 'nodes: must not be empty'],
] as const

describe('a maker of devices reads', () => {
  it.each(WRONG.map(([[schema, value], message]) => ({ schema, value, message })))(
    '$message',
    ({ schema, value, message }) => {
      expect(messageFor(schema, value)).toBe(message)
    },
  )

  it('what cannot be shown, by its kind and number', () => {
    const of = (displayName: string) => messageFor(...registration({ displayName }))
    expect(of('a\u0007')).toBe('displayName: contains a control character, U+0007')
    expect(of('a\ud800')).toBe('displayName: contains half of a surrogate pair, U+D800')
    expect(of('a\ue000')).toBe('displayName: contains a private-use character, U+E000')
    expect(of('a\u202eb')).toContain('a character that turns the direction of writing, U+202E')
    expect(of('a\u200bb')).toBe('displayName: contains an invisible character, U+200B')
    expect(of('a\u200db')).toContain('a joiner where no script and no emoji is written with one, U+200D')
    expect(of('\u3164')).toBe('displayName: contains an invisible character, U+3164')
    expect(of('\u2800')).toBe('displayName: is blank')
  })

  it('what cannot be shown in the choices and defaults of a description too, since models read them', () => {
    const of = (schema: object) => messageFor(valueSchema, schema)
    const tag = 'a\u{e0041}b'
    expect(of({ enum: ['a', tag] })).toBe('enum[1]: contains an invisible character, U+E0041')
    expect(of({ const: tag })).toBe('const: contains an invisible character, U+E0041')
    expect(of({ default: { deep: [tag] } })).toBe('default: contains an invisible character, U+E0041')
    expect(of({ items: { enum: ['\u202ea'] } })).toContain('items.enum[0]: contains a character that turns')
    expect(of({ properties: { [tag]: {} } })).toContain('contains an invisible character, U+E0041')
    expect(valueSchema.safeParse({ enum: ['', ' ', 1, null], default: { text: 'two\nlines' } }).success).toBe(
      true,
    )
  })

  it('in every verb nothing of zod’s own words for what is missing or of a wrong type', () => {
    for (const { args } of Object.values(VERBS)) {
      for (const key of Object.keys(args.shape)) {
        for (const value of [undefined, null, 1.5, true, 'x y', [], {}]) {
          const { error } = args.safeParse({ [key]: value })
          if (error) expect(messageFor(args, { [key]: value })).not.toMatch(/Invalid|Too |expected|received/)
        }
      }
    }
  })

  it('and no program that shares zod has its messages changed', () => {
    expect(z.string().safeParse(5).error?.issues[0]?.message).toContain('Invalid input')
  })
})
