import { expect, test } from 'vitest'
import type { Session } from '../../../src/bridge/ports.ts'
import { settled, start } from '../fixture.ts'

test('a stop does not wait for the turns of those who asked again, which come seconds later', async () => {
  const told: { success?: boolean; ok?: boolean; error?: { message: string } }[] = []
  const statuses: string[] = []
  const publisher = {
    isBehind: false,
    publish(topic: string, payload: Uint8Array) {
      const text = Buffer.from(payload).toString()
      if (topic === 'limb/principal/ops/response/invoke') told.push(JSON.parse(text))
      if (topic === 'limb/bridge/status') statuses.push(text)
    },
    mayPublish: () => true,
    async *retained() {},
    clearRetainedOf: async () => {},
  }
  const { ask, core } = await start(undefined, { publisher })
  const capabilities = [{ cap: 'camera', commands: ['camera.snap'], authLevel: 'free' }]
  await ask('node/provision', { nodeId: 'cam1', capabilities })
  await ask('principal/add', { name: 'ops', role: 'operator', password: 'correct horse' })
  const session: Session = {
    identity: { kind: 'principal', name: 'ops', role: 'operator', local: false },
    clientId: 'ops',
    address: '192.0.2.1',
    alive: true,
    subscribedTo: () => true,
    send: () => true,
    end: () => {},
  }
  const wish = { nodeId: 'cam1', command: 'camera.snap', offlineWaitSeconds: 3600, idempotencyKey: 'k' }
  const invoke = () =>
    core.message(
      session,
      { kind: 'request', principal: 'ops', verb: 'invoke' },
      Buffer.from(JSON.stringify(wish)),
    )
  await invoke()
  await expect.poll(() => core.control.openInvocations.offline, { interval: 2 }).toBe(1)
  for (let i = 0; i < 3; i++) await invoke()
  await settled()
  expect(told).toEqual([])
  publisher.isBehind = true
  await core.finishRequests()
  await core.stop()
  expect(statuses.at(-1)).toBe('offline')
  const text = expect.stringContaining('bridge restarted')
  expect(told).toEqual(
    Array.from({ length: 4 }, () => ({ ok: false, error: expect.objectContaining({ message: text }) })),
  )
})

test('a stop tells that all is offline though the end of an invocation cannot be stored', async () => {
  const statuses: string[] = []
  const publisher = {
    isBehind: false,
    publish(topic: string, payload: Uint8Array) {
      if (topic === 'limb/bridge/status') statuses.push(Buffer.from(payload).toString())
    },
    mayPublish: () => true,
    async *retained() {},
    clearRetainedOf: async () => {},
  }
  const { ask, clock, core, held } = await start(undefined, { publisher })
  const capabilities = [{ cap: 'camera', commands: ['camera.snap'], authLevel: 'free' }]
  await ask('node/provision', { nodeId: 'cam1', capabilities })
  const limb: Session = {
    identity: { kind: 'limb', nodeId: 'cam1' },
    clientId: 'cam1',
    address: '192.0.2.1',
    alive: true,
    subscribedTo: () => true,
    send: () => true,
    end: () => {},
  }
  core.opened(limb)
  core.heartbeat(limb, Buffer.alloc(0))
  await ask('invoke', { nodeId: 'cam1', command: 'camera.snap', idempotencyKey: 'k' })
  await expect.poll(() => core.control.openInvocations.running, { interval: 2 }).toBe(1)
  const back = Promise.withResolvers<void>()
  held.commits.push(back.promise)
  const stopped = core.stop()
  await settled()
  expect(statuses.at(-1)).toBe('online')
  clock.advance(1000)
  await settled()
  expect(statuses.at(-1)).toBe('offline')
  back.resolve()
  await stopped
})
