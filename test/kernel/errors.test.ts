import { describe, expect, it } from 'vitest'
import { InvariantError, invariant, unreachable } from '../../src/kernel/assert.ts'
import { ERROR_CODES, messageOf, Refusal } from '../../src/kernel/errors.ts'

describe('a refusal', () => {
  it('has a body of code and message, and a path only when a key is at fault', () => {
    expect(new Refusal('not_found', 'see node/list').body()).toEqual({
      code: 'not_found',
      message: 'see node/list',
    })
    expect(Object.keys(new Refusal('conflict', 'x', 'nodeId').body())).toEqual(['code', 'message', 'path'])
  })

  it('has a code in small letters that says what happened, each with its meaning', () => {
    for (const [code, meaning] of Object.entries(ERROR_CODES)) {
      expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/)
      expect(meaning).not.toBe('')
    }
  })
})

describe('a broken invariant', () => {
  it('is thrown as an error of its own that nobody takes for a refusal', () => {
    expect(() => invariant(false, 'a limb has two sessions')).toThrow(InvariantError)
    expect(() => invariant(0, 'x')).toThrow('broken invariant: x')
    expect(() => invariant(true, 'x')).not.toThrow()
    expect(() => unreachable('left' as never)).toThrow('unexpected value "left"')
    expect(new InvariantError('x')).not.toBeInstanceOf(Refusal)
  })
})

it('messageOf finds words for whatever was thrown', () => {
  expect(messageOf(new Error('full disk'))).toBe('full disk')
  expect(messageOf('text')).toBe('text')
  expect(messageOf(undefined)).toBe('undefined')
})
