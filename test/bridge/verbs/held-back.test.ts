import { expect, test } from 'vitest'
import type { Session } from '../../../src/bridge/ports.ts'
import { settled, start } from '../fixture.ts'

/** Requests that wait at most, of one principal. */
const MAX_WAITING = 64
const MAX_HOLD_MS = 2000

const few = async () => {
  for (let i = 0; i < 20; i++) await settled()
}

/** A session of the viewer `dash` over HTTP, with what it was answered. */
function sessionOf(more: Partial<Session> = {}) {
  const answers: { verb: string; error?: { code: string } }[] = []
  const session: Session = {
    identity: { kind: 'principal', name: 'dash', role: 'viewer', local: false },
    clientId: 'http',
    address: '192.0.2.1',
    alive: true,
    subscribedTo: () => false,
    send: () => false,
    respond: (verb, payload) => answers.push({ verb, ...JSON.parse(Buffer.from(payload).toString()) }),
    end: () => {},
    ...more,
  }
  return { session, answers }
}

const LIST = { kind: 'request', principal: 'dash', verb: 'node/list' } as const

test('what a request cost before it came to the bridge is taken from the time of its principal', async () => {
  const { core, clock } = await start()
  const { session, answers } = sessionOf({ overheadMs: 5000 })
  const ask = () => void core.message(session, LIST, Buffer.from('{}'))
  ask()
  await few()
  expect(answers).toHaveLength(1)
  ask()
  await few()
  expect(answers).toHaveLength(1)
  clock.advance(20_000)
  await few()
  expect(answers).toHaveLength(2)
})

test('over HTTP, a principal that is held back hears of it when its time has come, because its connection asks for nothing meanwhile', async () => {
  const { context, core, clock } = await start()
  // Each request that is answered costs half a second.
  context.counters.count = (_kind, outcome) => {
    if (outcome === 'ok') clock.standStill(500)
  }
  const { session, answers } = sessionOf()
  const ask = () => void core.message(session, LIST, Buffer.from('{}'))
  // Until its time is spent, and the first one waits.
  for (let answered = -1; answered < answers.length; ) {
    answered = answers.length
    ask()
    await few()
  }
  const before = answers.length
  for (let i = 0; i < MAX_WAITING; i++) ask()
  await few()
  expect(answers.length).toBe(before)
  clock.advance(MAX_HOLD_MS)
  await few()
  const refused = answers.filter(({ error }) => error?.code === 'too_many_requests')
  expect(refused).toHaveLength(1)
})
