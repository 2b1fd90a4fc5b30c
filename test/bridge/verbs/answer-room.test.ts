import { expect, test } from 'vitest'
import type { Session } from '../../../src/bridge/ports.ts'
import { AnswerRoom } from '../../../src/bridge/verbs/answer-room.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const MIB = 1024 * 1024

/** A session whose peer takes nothing until it is told to. */
function reader() {
  const taken = Promise.withResolvers<void>()
  const session = { whenTaken: () => taken.promise } as unknown as Session
  return { session, take: () => taken.resolve() }
}

test('answers that wait to be sent have a bound in bytes, of a principal and of all, and one of each may always wait', async () => {
  const room = new AnswerRoom(new FakeClock())
  const [first, second] = [reader(), reader()]
  for (const { session } of [first, second]) room.sent(session, MIB)
  const done: string[] = []
  const hold = (name: string, bytes: number, { session } = first) =>
    void room.hold(session, name, bytes).then((isSent) => done.push(`${name} ${isSent}`))
  const settled = async () => {
    for (let i = 0; i < 5; i++) await Promise.resolve()
  }
  hold('ann', 15 * MIB)
  hold('ann', 2 * MIB, second)
  await settled()
  // Over all its sessions together.
  expect(done).toEqual(['ann false'])
  hold('bob', 15 * MIB)
  hold('cat', 15 * MIB)
  await settled()
  // It has none yet.
  expect(done).toEqual(['ann false'])
  hold('bob', MIB / 2)
  await settled()
  // All together have used up theirs.
  expect(done).toEqual(['ann false', 'bob false'])
  first.take()
  await expect.poll(() => done.length).toBe(5)
  hold('ann', 16 * MIB)
  await expect.poll(() => done.at(-1)).toBe('ann true')
})
