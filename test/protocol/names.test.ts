import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  CAPABILITY_PATTERN,
  capabilitySchema,
  isName,
  LEVELS,
  nameSchema,
  ROLES,
  roleReaches,
} from '../../src/protocol/names.ts'

const WORD = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789']
const nameArbitrary = fc
  .tuple(
    fc.constantFrom(...WORD),
    fc.array(fc.constantFrom(...WORD, '_', '-'), { maxLength: 62 }).map((letters) => letters.join('')),
  )
  .map(([first, rest]) => first + rest)

describe('a name', () => {
  it.each(['a', 'A', '7', 'cam-1', 'Front_camera', 'x'.repeat(63), '0--__'])('may be %j', (name) => {
    expect(isName(name)).toBe(true)
    expect(nameSchema.safeParse(name).success).toBe(true)
  })

  it.each([
    ['nothing', ''],
    ['64 characters', 'x'.repeat(64)],
    ['a topic level separator', 'a/b'],
    ['a wildcard', '+'],
    ['a wildcard at the end', 'cam#'],
    ['a reserved first character', '$SYS'],
    ['a dot', 'cam.1'],
    ['a hyphen in front', '-rf'],
    ['an underscore in front', '__proto__'],
    ['a space', 'cam 1'],
    ['a line feed at the end', 'cam\n'],
    ['a NUL', 'cam\0'],
    ['a letter beyond ASCII', 'café'],
    ['a letter that looks like another', 'саm'],
    ['a digit beyond ASCII', '٣'],
  ])('is never %s', (_what, text) => {
    expect(isName(text)).toBe(false)
    expect(nameSchema.safeParse(text).success).toBe(false)
  })

  it.each([undefined, null, 7, {}, ['cam'], true])('is never %j', (value) => {
    expect(isName(value)).toBe(false)
  })

  it('is every text that its pattern describes, and can be a topic level', () => {
    fc.assert(
      fc.property(nameArbitrary, (name) => {
        expect(isName(name)).toBe(true)
        expect(name).not.toMatch(/[/+#$\0]/)
      }),
    )
  })

  it('is decided alike by the function and by the schema', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 70 }), (text) => {
        expect(nameSchema.safeParse(text).success).toBe(isName(text))
      }),
    )
  })
})

describe('a capability', () => {
  it('is a name that may have dots', () => {
    for (const text of ['camera', 'camera.snap', 'a.b.c', 'x'.repeat(63)]) {
      expect(capabilitySchema.safeParse(text).success).toBe(true)
    }
    for (const text of ['', '.camera', 'camera/snap', 'camera snap', '*', 'x'.repeat(64), 'camera\n']) {
      expect(CAPABILITY_PATTERN.test(text)).toBe(false)
    }
  })
})

describe('a role', () => {
  it('reaches what the roles before it reach, and nothing above it', () => {
    for (const [i, role] of ROLES.entries()) {
      for (const [j, needed] of ROLES.entries()) expect(roleReaches(role, needed)).toBe(i >= j)
    }
  })
})

it('orders the levels from the loosest to the strictest', () => {
  expect(LEVELS).toEqual(['free', 'leased', 'gated', 'denied'])
})
