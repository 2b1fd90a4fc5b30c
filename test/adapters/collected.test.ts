import { expect, it } from 'vitest'
import { Collected, CollectedBytes } from '../../src/bridge/adapters/collected.ts'
import type { Session } from '../../src/bridge/ports.ts'

const sessionOf = (kind: 'limb' | 'candidate') => ({ identity: { kind, nodeId: 'd' } }) as unknown as Session

it('keeps a bounded number of messages and of bytes, of each session and of all', () => {
  const total = new CollectedBytes()
  const first = new Collected(sessionOf('candidate'), 'd', total)
  for (let i = 0; i < 128; i++) expect(first.put(`sensor/a${i}`, new Uint8Array(10))).toBe(true)
  expect(first.put('sensor/b', new Uint8Array(10))).toBe(false)
  expect(first.put('sensor/a0', new Uint8Array(131_072))).toBe(false)
  expect(first.put('sensor/a0', new Uint8Array(0))).toBe(true)
  first.end()
  expect(total.candidates).toBe(0)

  const full = new Uint8Array(131_072)
  const all = Array.from({ length: 64 }, () => new Collected(sessionOf('candidate'), 'd', total))
  for (const each of all) expect(each.put('sensor/a', full)).toBe(true)
  const late = new Collected(sessionOf('candidate'), 'd', total)
  expect(late.put('sensor/a', new Uint8Array(1))).toBe(false)
  expect(new Collected(sessionOf('limb'), 'd', total).put('sensor/a', full)).toBe(true)
  all[0]?.end()
  expect(late.put('sensor/a', new Uint8Array(1))).toBe(true)
})
