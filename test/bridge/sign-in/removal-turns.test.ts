import { expect, test, vi } from 'vitest'
import { callOf } from '../../contract/store.contract.ts'
import { start } from '../fixture.ts'

const ANSWERS = 30
const ANSWER = JSON.stringify('x'.repeat(500_000))

/** A bridge with a principal whose answers have fifteen megabytes. */
async function startWith(name: string, role: string) {
  const bridge = await start()
  const { ask, context } = bridge
  await ask('principal/add', { name, role })
  await context.store.transact(async (tx) => {
    for (let i = 0; i < ANSWERS; i++) {
      const call = callOf(`iv_${i}`, { principal: name, idempotencyKey: `k${i}`, fingerprint: 'f' })
      await tx.putInvocation(call)
      await tx.putAnswer(`iv_${i}`, ANSWER, { perPrincipal: 1e9, total: 1e9 })
    }
  })
  const kept = () =>
    context.store.read(async (tx) => {
      let count = 0
      for (let i = 0; i < ANSWERS; i++) if ((await tx.answer(`iv_${i}`)) !== null) count++
      return count
    })
  return { ...bridge, kept }
}

test('the answers of a principal that is removed go some in each transaction', async () => {
  const { ask, context, kept } = await startWith('bot', 'agent')
  const transact = vi.spyOn(context.store, 'transact')
  expect(await ask('principal/remove', { name: 'bot' })).toMatchObject({ ok: true })
  expect(transact.mock.calls.length).toBeGreaterThan(3)
  expect(await kept()).toBe(0)
})

test('who may not be removed keeps the answers', async () => {
  const { ask, kept } = await startWith('root', 'admin')
  expect(await ask('principal/remove', { name: 'root' })).toMatchObject({ error: { code: 'conflict' } })
  expect(await kept()).toBe(ANSWERS)
})
