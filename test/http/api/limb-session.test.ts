import { expect, test } from 'vitest'
import { HttpLimbSession } from '../../../src/http/api/limb-session.ts'
import { topicsOf } from '../../../src/protocol/topics.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** What waits for limbs that speak HTTP until they ask for it. */

const topics = topicsOf('limb')
const INVOKE = topics.node('cam1', 'invoke')

function limbs() {
  const clock = new FakeClock()
  const ofAll = { bytes: 0 }
  return {
    ofAll,
    limb() {
      const identity = { kind: 'limb', nodeId: 'cam1' } as const
      const session = new HttpLimbSession(identity, '192.0.2.1', {
        topics,
        clock,
        ofAll,
        onEnd: () => undefined,
      })
      session.expectPoll(0, 30_000)
      return session
    },
  }
}

function taken(session: HttpLimbSession, bytes: number): number {
  let count = 0
  while (count < 1000 && session.send(INVOKE, Buffer.alloc(bytes))) count++
  return count
}

const poll = (session: HttpLimbSession) => session.next(0, 30_000, new AbortController().signal)

test('sixty-four messages wait for a limb over HTTP, and the next is not taken until it has asked for one', async () => {
  const session = limbs().limb()
  expect(taken(session, 10)).toBe(64)
  expect(await poll(session)).toHaveLength(10)
  expect(taken(session, 10)).toBe(1)
})

test('what waits for one limb over HTTP, and for all of them, has a bound in bytes', async () => {
  const { ofAll, limb } = limbs()
  const first = limb()
  expect(taken(first, 262_144)).toBe(16)
  const others = Array.from({ length: 10 }, limb)
  expect(others.map((other) => taken(other, 262_144))).toEqual([16, 16, 16, 16, 16, 16, 16, 0, 0, 0])
  expect(ofAll.bytes).toBe(32 * 1_048_576)
  await poll(first)
  expect(others.map((other) => taken(other, 262_144))).toEqual([0, 0, 0, 0, 0, 0, 0, 1, 0, 0])
  for (const session of [first, ...others]) session.end('lost')
  expect(ofAll.bytes).toBe(0)
})
