import { describe, expect, it } from 'vitest'
import { keyOf, startApp } from '../../support/app.ts'
import { agent, send, worker } from '../../support/worker.ts'

/** What one name may keep has a number. */

const arm = (nodeId: string) => ({ nodeId, capability: 'arm' })

describe('leases of a principal, and places in a queue', () => {
  it('are bounded, and there is room again when one is given back', async () => {
    await using app = await startApp({ lease: { maxPerPrincipal: 1, maxQueued: 1 } }, { memory: true })
    await worker(app, 'r1')
    await worker(app, 'r2')
    const [ann, bob, cleo] = [await agent(app, 'ann'), await agent(app, 'bob'), await agent(app, 'cleo')]
    const { leaseId } = await ann.do('ann', 'lease/acquire', arm('r1'))
    expect((await ann.ask('ann', 'lease/acquire', arm('r2'))).error.code).toBe('too_many_requests')
    const waits = await send(bob, 'bob', 'lease/acquire', { ...arm('r1'), waitSeconds: 60 })
    await bob.settle()
    const wish = { ...arm('r1'), waitSeconds: 60 }
    expect((await cleo.ask('cleo', 'lease/acquire', wish)).error.code).toBe('too_many_requests')
    await ann.do('ann', 'lease/release', { leaseId })
    expect((await waits()).ok).toBe(true)
    expect((await ann.ask('ann', 'lease/acquire', arm('r2'))).ok).toBe(true)
  })
})

it('tokens of a principal are bounded, and there is room again when one is removed', async () => {
  await using app = await startApp({}, { memory: true, fakeClock: true })
  const ann = await agent(app, 'ann')
  const made = []
  for (let i = 0; i < 64; i++) made.push(await ann.do('ann', 'token/add', { name: `t${i}` }))
  expect((await ann.ask('ann', 'token/add', { name: 'more' })).error.code).toBe('too_many_requests')
  await ann.do('ann', 'token/remove', { tokenId: made[0].tokenId })
  expect((await ann.ask('ann', 'token/add', { name: 'more' })).ok).toBe(true)
  // Each is a row of the audit log, and not each a line of the log.
  const lines = app.logLines.filter(({ msg }) => String(msg).includes('has a new token'))
  expect(lines).toHaveLength(10)
})

it('a will above 4096 bytes is left out, and one of 4096 is sent', async () => {
  // The CONNECT that has the will in it fits the default of mqtt.maxConnectBytes.
  await using app = await startApp({}, { memory: true })
  const admin = await app.admin()
  await (await app.limb('cam1')).end()
  const topic = 'limb/node/cam1/data/last'
  await admin.subscribe(topic)
  const dies = async (bytes: number) => {
    const will = { topic, payload: Buffer.alloc(bytes, 'w'), qos: 1 as const, retain: false }
    const device = await app.device('cam1', keyOf('cam1'), { will })
    device.cut()
  }
  await dies(4096)
  expect((await admin.next(topic)).text).toHaveLength(4096)
  await dies(4097)
  await dies(1)
  expect((await admin.next(topic)).text).toHaveLength(1)
})
