import { expect, test } from 'vitest'
import { AddressCounts, Counts } from '../../src/kernel/counts.ts'

test('counts go up and down by name, and none is below nothing', () => {
  const counts = new Counts()
  counts.add('ann')
  counts.add('ann', 2)
  counts.remove('bob')
  expect([counts.of('ann'), counts.of('bob')]).toEqual([3, 0])
  for (let i = 0; i < 4; i++) counts.remove('ann')
  counts.add('ann')
  expect(counts.of('ann')).toBe(1)
})

test('an IPv6 network is one address, loopback is none, and whoever leaves twice is counted out once', () => {
  const counts = new AddressCounts()
  const leave = counts.enter('2001:db8::1')
  counts.enter('2001:db8::2')
  counts.enter('127.0.0.1')
  expect(['2001:db8::3', '2001:db8:0:1::1', '127.0.0.1'].map((each) => counts.of(each))).toEqual([2, 0, 0])
  leave()
  leave()
  expect(counts.of('2001:db8::1')).toBe(1)
})
