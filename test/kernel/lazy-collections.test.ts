import { describe, expect, it } from 'vitest'
import { LazyMap, LazySet } from '../../src/kernel/lazy-collections.ts'

describe('a lazy set', () => {
  it('answers like an empty one before anything was added', () => {
    const set = new LazySet<string>()
    expect([set.size, set.has('a'), set.delete('a'), [...set]]).toEqual([0, false, false, []])
    set.clear()
    expect(set.size).toBe(0)
  })

  it('keeps each item once, in the order in which they came, until they are deleted', () => {
    const set = new LazySet<string>().add('b').add('a').add('b')
    expect([set.size, set.has('a'), [...set]]).toEqual([2, true, ['b', 'a']])
    expect([set.delete('b'), set.delete('b'), [...set]]).toEqual([true, false, ['a']])
    set.clear()
    expect([...set.add('c')]).toEqual(['c'])
  })

  it('shares nothing with another', () => {
    const first = new LazySet<string>()
    const second = new LazySet<string>()
    first.add('a')
    expect([...second]).toEqual([])
  })
})

describe('a lazy map', () => {
  it('answers like an empty one before anything was set', () => {
    const map = new LazyMap<string, number>()
    expect([map.size, map.has('a'), map.get('a'), map.delete('a'), [...map], [...map.keys()]]).toEqual([
      ...[0, false, undefined, false],
      [],
      [],
    ])
  })

  it('keeps the last value of each key, in the order in which they came, until they are deleted', () => {
    const map = new LazyMap<string, number>().set('b', 1).set('a', 2).set('b', 3)
    expect([map.size, map.get('b'), [...map], [...map.keys()]]).toEqual([
      2,
      3,
      [
        ['b', 3],
        ['a', 2],
      ],
      ['b', 'a'],
    ])
    expect([map.delete('b'), map.delete('b'), [...map.keys()]]).toEqual([true, false, ['a']])
    map.clear()
    expect([map.size, [...new LazyMap<string, number>()]]).toEqual([0, []])
  })
})
