import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { HttpTransport } from '../../../src/bridge/invocation/http-transport.ts'
import type { MonotonicMs } from '../../../src/kernel/clock.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const LIMB = {
  record: { nodeId: 'r1', endpointUrl: 'http://192.0.2.1/' },
  rule: { mode: 'probe' },
  address: '',
}

/** A clock by which no turn has any time left after a look at it. */
class LateClock extends FakeClock {
  override monotonicMs(): MonotonicMs {
    this.standStill(1000)
    return super.monotonicMs()
  }
}

/** A transport whose requests the test answers. */
function transport() {
  const answers: ((body: Uint8Array) => void)[] = []
  const http = {
    master: Buffer.alloc(32),
    client: {
      post: (_request: unknown, done: (body: Uint8Array) => void) => {
        answers.push(done)
        return { sent: true, giveUp: () => undefined }
      },
    },
  }
  const context = {
    clock: new LateClock(),
    log: { warn: () => undefined },
    store: { read: async () => ({ current: { salt: '00', hash: '00' } }) },
  }
  const over = new HttpTransport(http as never, context as never, { limb: () => undefined } as never)
  return { over, answers }
}

const body = (bytes: number) => Buffer.from(`{"success":true,"data":"${'x'.repeat(bytes)}"}`)

test('large answers that come at one moment are read one after the other, each in turns of its own', async () => {
  const { over, answers } = transport()
  const ended: number[] = []
  for (let i = 0; i < 4; i++)
    over.deliver(LIMB as never, { invocationId: `iv_${i}` } as never, () => ended.push(i))
  while (answers.length < 4) await turn()
  for (const answer of answers) answer(body(100_000))
  expect(ended).toEqual([])
  let most = 0
  for (let before = 0; ended.length < 4; ) {
    await turn()
    most = Math.max(most, ended.length - before)
    before = ended.length
  }
  expect(ended).toEqual([0, 1, 2, 3])
  expect(most).toBe(1)
})

test('a small answer is told at once', async () => {
  const { over, answers } = transport()
  const ended: unknown[] = []
  over.deliver(LIMB as never, { invocationId: 'iv_1' } as never, (outcome) => ended.push(outcome))
  while (answers.length < 1) await turn()
  answers[0]?.(body(10))
  expect(ended).toEqual([{ invocationId: 'iv_1', success: true, data: 'x'.repeat(10) }])
})
