import { expect, test } from 'vitest'
import type { Session } from '../../../src/bridge/ports.ts'
import { keyOf } from '../../support/app.ts'
import { settled, start } from '../fixture.ts'

const LIMBS = 50
/** Limbs that one commit approves, of which all sessions are told in one turn. */
const AT_ONCE = 8

async function startWatched() {
  const bridge = await start()
  const { context, core } = bridge
  Object.assign(context.settings.pairing, { maxPending: LIMBS, maxPendingPerAddress: LIMBS })
  const approved: string[] = []
  /** Approvals whose transaction has begun and of which nobody was told. */
  const open = { now: 0, most: 0 }
  const { transact } = context.store
  context.store.transact = async (work) => {
    open.most = Math.max(open.most, ++open.now)
    try {
      return await transact(work)
    } finally {
      open.now--
    }
  }
  const register = (i: number) => {
    const nodeId = `cam${i}`
    const session = {
      identity: { kind: 'candidate', nodeId, key: keyOf(nodeId) },
      clientId: nodeId,
      address: '192.0.2.1',
      alive: true,
      subscribedTo: () => true,
      send: (topic, payload) => {
        const { status } = JSON.parse(Buffer.from(payload).toString())
        if (topic.endsWith('/pairing') && status === 'approved') approved.push(nodeId)
        return true
      },
      end: () => {},
    } satisfies Session
    core.opened(session)
    const registration = { displayName: 'Cam', platform: 'esp32', capabilities: [] }
    const address = { kind: 'node', nodeId, leaf: 'register' } as const
    return core.message(session, address, Buffer.from(JSON.stringify(registration)))
  }
  return { ...bridge, approved, open, register }
}

const all = Array.from({ length: LIMBS }, (_, i) => i)

test('limbs that register at the same moment are approved by the window a few in each commit, in their order', async () => {
  const { ask, approved, open, register } = await startWatched()
  await ask('pairing/permit', { seconds: 60 })
  await Promise.all(all.map(register))
  while (approved.length < LIMBS) await settled()
  expect(approved).toEqual(all.map((i) => `cam${i}`))
  expect(open.most).toBe(AT_ONCE)
})

test('those that wait when it is opened are approved so too', async () => {
  const { ask, open, register } = await startWatched()
  for (const i of all) await register(i)
  open.most = 0
  const answer = await ask('pairing/permit', { seconds: 60, waiting: true })
  expect(answer).toMatchObject({ data: { approved: all.map((i) => `cam${i}`) } })
  expect(open.most).toBe(AT_ONCE)
})

test('while it is closed nobody waits for others', async () => {
  const { open, register } = await startWatched()
  await Promise.all(all.map(register))
  expect(open.most).toBe(LIMBS)
})
