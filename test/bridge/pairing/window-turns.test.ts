import { expect, test } from 'vitest'
import { settled, start } from '../fixture.ts'

const LIMBS = 50
/** Limbs that one commit approves, of which all sessions are told in one turn. */
const AT_ONCE = 8

async function startWatched() {
  const bridge = await start()
  const { context } = bridge
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
  const register = (i: number) =>
    bridge.register(`cam${i}`, (topic, { status }) => {
      if (topic.endsWith('/pairing') && status === 'approved') approved.push(`cam${i}`)
    })
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
