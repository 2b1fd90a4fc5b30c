import { expect, test } from 'vitest'
import type { Session } from '../../../src/bridge/ports.ts'
import { settled, start } from '../fixture.ts'

/** Requests that wait at most, of one principal. */
const MAX_WAITING = 64
const MAX_HOLD_MS = 2000

test('over HTTP, a principal that is held back hears of it when its time has come, because its connection asks for nothing meanwhile', async () => {
  const { context, core, clock } = await start()
  // Each request that is answered costs half a second.
  context.counters.count = (_kind, outcome) => {
    if (outcome === 'ok') clock.standStill(500)
  }
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
  }
  const ask = () =>
    void core.message(session, { kind: 'request', principal: 'dash', verb: 'node/list' }, Buffer.from('{}'))
  const few = async () => {
    for (let i = 0; i < 20; i++) await settled()
  }
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
