import { describe, expect, test } from 'vitest'
import {
  BodyBytes,
  HELD_BOUNDS,
  STRANGERS_BYTES,
  StrangersUnreadBytes,
  UnreadBytes,
} from '../../src/http/held-bytes.ts'

const MIB = 1_048_576

function unreadBytes() {
  const ended: string[] = []
  const gone: string[] = []
  const unread = new UnreadBytes((principal) => ended.push(principal))
  const open = (principal: string, name = principal) => {
    const state = { bytes: 0, place: { changed() {}, leave() {} } }
    state.place = unread.enter({ principal, measure: () => state.bytes, end: () => gone.push(name) })
    return {
      set(bytes: number) {
        state.bytes = bytes
        state.place.changed()
      },
      /** Is read, and tells nobody. */
      read(bytes: number) {
        state.bytes = bytes
      },
      leave: () => state.place.leave(),
    }
  }
  return { unread, open, ended, gone }
}

describe('answers that are not read', () => {
  test('of one principal have a bound together: those that hold most end', () => {
    const { unread, open, ended, gone } = unreadBytes()
    const small = open('ann', 'small')
    small.set(MIB)
    for (let i = 0; i < 5; i++) open('ann', `large${i}`).set(3 * MIB)
    expect(gone).toEqual([])
    open('ann', 'last').set(2 * MIB)
    expect(gone).toEqual(['large0'])
    expect(ended).toEqual(['ann'])
    expect(unread.bytes).toBe(15 * MIB)
    open('bob').set(3 * MIB)
    expect(ended).toEqual(['ann'])
  })

  test('of all principals have a bound together', () => {
    const { unread, open, ended } = unreadBytes()
    for (let i = 0; i < 20; i++) open(`p${i}`).set(2 * MIB)
    expect(unread.bytes).toBeLessThanOrEqual(HELD_BOUNDS.inAll)
    expect(ended).toHaveLength(4)
  })

  test('that were read since count no more, and nobody ends for them', () => {
    const { unread, open, ended } = unreadBytes()
    const readers = Array.from({ length: 15 }, (_, i) => open('ann', `${i}`))
    for (const reader of readers) reader.set(MIB)
    for (const reader of readers) reader.read(0)
    open('ann', 'new').set(10 * MIB)
    expect(ended).toEqual([])
    expect(unread.bytes).toBe(10 * MIB)
  })

  test('leave nothing behind when their connection is over', () => {
    const { unread, open } = unreadBytes()
    const readers = Array.from({ length: 10 }, () => open('ann'))
    for (const reader of readers) reader.set(MIB)
    for (const reader of readers) reader.leave()
    for (const reader of readers) reader.leave()
    for (const reader of readers) reader.set(9 * MIB)
    expect(unread.bytes).toBe(0)
  })
})

describe('bodies of requests', () => {
  test('have a bound for one principal, and for all', () => {
    const bodies = new BodyBytes()
    const taken = Array.from({ length: 20 }, () => bodies.reserve('ann', MIB)).filter((each) => each)
    expect(taken).toHaveLength(16)
    expect(Array.from({ length: 20 }, () => bodies.reserve('bob', MIB)).filter((each) => each)).toHaveLength(
      16,
    )
    expect(bodies.reserve('cleo', MIB)).toBeUndefined()
    taken[0]?.()
    expect(bodies.reserve('cleo', MIB)).toBeDefined()
    expect(bodies.bytes).toBe(HELD_BOUNDS.inAll)
  })

  test('one alone always has room, however large it may be', () => {
    expect(new BodyBytes().reserve('ann', 100 * MIB)).toBeDefined()
  })
})

describe('answers to those who have not signed in', () => {
  function strangers() {
    let ended = 0
    const unread = new StrangersUnreadBytes(() => ended++)
    const gone: string[] = []
    const answer = (name: string, mib: number, isUnread = true) =>
      unread.enter({ bytes: mib * MIB, isUnread: () => isUnread, end: () => gone.push(name) })
    return { unread, answer, gone, ended: () => ended }
  }

  test('that are not read have a bound together: the oldest end, whatever their size', () => {
    const { unread, answer, gone, ended } = strangers()
    answer('small', 1)
    answer('large', 8)
    answer('third', 7)
    expect(gone).toEqual([])
    answer('last', 2)
    expect(gone).toEqual(['small', 'large'])
    expect(ended()).toBe(2)
    expect(unread.bytes).toBe(9 * MIB)
    expect(unread.bytes).toBeLessThanOrEqual(STRANGERS_BYTES)
  })

  test('that are being sent, or that the system has taken, end for nobody', () => {
    const { answer, gone } = strangers()
    for (let i = 0; i < 40; i++) answer(`read ${i}`, 1, false)
    answer('unread', 1)
    expect(gone).toEqual([])
    for (let i = 0; i < 40; i++) answer(`more ${i}`, 1, false)
    expect(gone).toEqual(['unread'])
  })

  test('count no more when they were read', () => {
    const { unread, answer, gone } = strangers()
    for (let i = 0; i < 100; i++) answer(`${i}`, 4)()
    expect(gone).toEqual([])
    expect(unread.bytes).toBe(0)
  })
})
