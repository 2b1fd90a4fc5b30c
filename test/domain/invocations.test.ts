import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalJson, shallow } from '../../src/domain/canonical.ts'
import {
  Consent,
  endStateOf,
  holdersOf,
  type InvocationIdentity,
  type InvocationRecord,
  isOpen,
  moved,
  nodeErrorText,
  strictest,
} from '../../src/domain/invocations.ts'
import { ERROR_CODES, type ErrorCode } from '../../src/kernel/errors.ts'
import { sha256Hex } from '../../src/kernel/secrets.ts'
import { INVOCATION_STATES, LEVELS } from '../../src/protocol/names.ts'

const short = fc.constantFrom('a', 'b', 'a.b', '*', '__proto__')
const call: fc.Arbitrary<InvocationIdentity> = fc.record({
  invocationId: short,
  principal: short,
  nodeId: short,
  capability: short,
  command: short,
  paramsHash: fc.jsonValue({ maxDepth: 1 }).map((value) => sha256Hex(canonicalJson(value))),
})

describe('an approval', () => {
  it('is used for the very call it was given for, once, whatever is tried with it', () => {
    fc.assert(
      fc.property(call, fc.array(call, { maxLength: 10 }), fc.nat(10), (given, others, place) => {
        const tries = [...others]
        tries.splice(place, 0, { ...given }, { ...given })
        const consent = new Consent(given, 'operator')
        const used = tries.filter((each) => consent.use(each))
        expect(used).toHaveLength(1)
        expect(used[0]).toEqual(given)
      }),
    )
  })
})

describe('params as canonical JSON', () => {
  it('are the same text whatever the order of their keys, and another text when a value differs', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), fc.jsonValue({ maxDepth: 4 }), (a, b) => {
        expect(canonicalJson(reversed(a))).toBe(canonicalJson(a))
        // -0 is written as 0 in JSON.
        expect(JSON.parse(canonicalJson(a))).toEqual(JSON.parse(JSON.stringify(a)))
        const same = canonicalJson(a) === canonicalJson(b)
        const equal = JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))
        expect(same).toBe(equal)
      }),
    )
  })

  it('tell __proto__ from nothing', () => {
    expect(canonicalJson(JSON.parse('{"__proto__":1}'))).toBe('{"__proto__":1}')
  })

  it('are refused when nested too deep, without a stack overflow', () => {
    const deep = JSON.parse(`${'['.repeat(50_000)}${']'.repeat(50_000)}`)
    expect(() => canonicalJson(deep)).toThrow(/nested deeper than 64/)
    expect(shallow(deep)).toBe(false)
    expect(shallow(JSON.parse(`${'['.repeat(64)}${']'.repeat(64)}`))).toBe(true)
  })
})

describe('params that are too large', () => {
  it('are looked through no further than where that shows', () => {
    let looks = 0
    const numbers = Array.from({ length: 10_000 }, () => ({
      get n() {
        looks++
        return 1
      },
    }))
    expect(() => canonicalJson({ numbers }, 1000)).toThrow('has more than 1000 bytes')
    expect(looks).toBeLessThan(1000)
    expect(canonicalJson({ n: 1 }, 100)).toBe('{"n":1}')
  })
})

describe('the states of a call', () => {
  const record = (state: InvocationRecord['state']) => ({ state }) as InvocationRecord

  it('never leave an end', () => {
    for (const from of INVOCATION_STATES) {
      for (const to of INVOCATION_STATES) {
        const go = () => moved(record(from), to)
        if (!isOpen(from)) expect(go, `${from} to ${to}`).toThrow(/broken invariant/)
      }
    }
    expect(() => moved(record('waiting'), 'done')).toThrow(/broken invariant/)
  })

  it('have an end for every error in every open state', () => {
    for (const from of INVOCATION_STATES.filter(isOpen)) {
      for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
        const to = endStateOf(from, { code, message: '' })
        expect(isOpen(moved(record(from), to).state)).toBe(false)
      }
    }
  })
})

describe('a command in several capabilities', () => {
  const capabilities = [
    { cap: 'camera', commands: ['snap'], authLevel: 'free' as const },
    { cap: 'lab', commands: ['snap', 'x'], authLevel: 'gated' as const },
  ]

  it('is decided by the strictest, also when another one is asked for', () => {
    const levels = (asked?: string) =>
      holdersOf(capabilities, 'snap', asked).map(({ cap, authLevel: level }) => ({ cap, level }))
    expect(strictest(levels())).toEqual({ cap: 'lab', level: 'gated' })
    expect(strictest(levels('camera'))).toEqual({ cap: 'lab', level: 'gated' })
    expect(levels('nothing')).toEqual([])
    expect(holdersOf(capabilities, 'x', 'camera')).toEqual([])
  })

  it('prefers the one that was asked for among equals', () => {
    const options = LEVELS.map((level, i) => ({ level, i }))
    expect(strictest(options)?.i).toBe(LEVELS.length - 1)
    expect(
      strictest([
        { level: 'free', i: 1 },
        { level: 'free', i: 2 },
      ] as const)?.i,
    ).toBe(1)
  })
})

describe('what a limb says went wrong', () => {
  it.each([
    ['no motor', 'no motor'],
    [{ message: 'no motor', code: 3 }, 'no motor'],
    [{ code: 3 }, '{"code":3}'],
    [undefined, 'it gave no reason'],
    [null, 'null'],
    ['x'.repeat(50), `${'x'.repeat(20)}…`],
  ])('%j is told as %s', (error, text) => {
    expect(nodeErrorText(error, 20)).toBe(text)
  })
})

function sorted(value: unknown): unknown {
  return JSON.parse(canonicalJson(value))
}

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, each]) => [key, reversed(each)]),
  )
}
