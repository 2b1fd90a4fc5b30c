import { expect, test } from 'vitest'
import { LiveMeanwhile } from '../../src/broker/live-meanwhile.ts'

test('what came live behind a SUBSCRIBE stands for what is retained, for that SUBSCRIBE alone', () => {
  const meanwhile = new LiveMeanwhile()
  meanwhile.came('a/before')
  meanwhile.asked('a/#')
  meanwhile.came('a/x')
  const first = meanwhile.begin(['a/#'])
  meanwhile.asked('a/+')
  const second = meanwhile.begin(['a/+'])
  expect(meanwhile.has('a/before', first)).toBe(false)
  expect(meanwhile.has('a/x', first)).toBe(true)
  // It was there before the second one: that one is sent it, as retained.
  expect(meanwhile.has('a/x', second)).toBe(false)
  meanwhile.came('a/x')
  expect(meanwhile.has('a/x', second)).toBe(true)
})

test('nothing is remembered when everything retained was sent', () => {
  const meanwhile = new LiveMeanwhile()
  meanwhile.asked('a')
  const since = meanwhile.begin(['a'])
  meanwhile.came('a')
  meanwhile.end()
  expect(meanwhile.has('a', since)).toBe(false)
  meanwhile.came('a')
  expect(meanwhile.has('a', since)).toBe(false)
})

test('a thousand topics are remembered, and no more', () => {
  const meanwhile = new LiveMeanwhile()
  meanwhile.asked('#')
  const since = meanwhile.begin(['#'])
  for (let i = 0; i < 1001; i++) meanwhile.came(`t/${i}`)
  expect(meanwhile.has('t/999', since)).toBe(true)
  expect(meanwhile.has('t/1000', since)).toBe(false)
})
