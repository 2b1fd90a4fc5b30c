import { expect, onTestFinished, test, vi } from 'vitest'
import { type LiveLimb, newLimb, Registry } from '../../../src/bridge/live/registry.ts'
import type { WebhookDelivery, WebhookQueue } from '../../../src/bridge/webhook-ports.ts'
import { Webhooks } from '../../../src/bridge/webhooks/webhooks.ts'
import { provisionedNode } from '../../../src/domain/pairing.ts'
import { newPresence } from '../../../src/domain/presence.ts'
import { resolveConfig } from '../../../src/host/config/config.ts'
import type { SteadyMs } from '../../../src/kernel/steady-clock.ts'
import { presenceRule } from '../../../src/protocol/presence.ts'
import { openDatabase } from '../../../src/store/sqlite/database.ts'
import { createWebhookQueue } from '../../../src/store/sqlite/webhook-queue.ts'
import { full, settled, start } from '../fixture.ts'

/** What one event, and one turn of the event loop, may put into the queue of a webhook, and from when on. */

const HOOK = {
  name: 'hook',
  url: 'https://hook.example/in',
  secret: `whsec_${Buffer.alloc(24, 7).toString('base64')}`,
  events: ['invocation_ended', 'principal_added'],
  maxQueued: 5000,
}

/** Webhooks on a real queue, to a receiver that never answers; with other words of the webhook, and another store. */
async function world(hook: object = {}, change: Partial<WebhookQueue> = {}) {
  const { context, clock, log } = await start()
  const database = openDatabase({ file: ':memory:', clock, log })
  const queue = createWebhookQueue(database)
  const stored: WebhookDelivery[] = []
  const posted = Promise.withResolvers<void>()
  const registry = new Registry()
  const { config } = resolveConfig(
    { name: 'test', values: { webhooks: [{ ...HOOK, ...hook }] }, lineOf: () => undefined },
    {},
  )
  const webhooks = new Webhooks(
    {
      ...context,
      webhooks: {
        configured: () => config.webhooks,
        publicUrl: () => null,
        secretLines: () => [],
        queue: {
          ...queue,
          put: (batch, max) => {
            stored.push(...batch)
            return queue.put(batch, max)
          },
          ...change,
        },
        client: {
          post: (_request, signal) =>
            new Promise((done) => {
              posted.resolve()
              signal.addEventListener('abort', () => done({ failure: 'it was ended' }))
            }),
        },
      },
    },
    registry,
  )
  webhooks.start()
  onTestFinished(async () => {
    await webhooks.stop()
    await database.close()
  })
  return { webhooks, stored, log, clock, registry, posted: posted.promise, now: clock.wallMs() }
}

const failed = (text: string) =>
  ({ invocationId: 'iv_1', nodeId: 'r1', command: 'saw.cut', error: { code: 'x', message: text } }) as never

test('an event of 64 KiB is sent whole, and of a larger one what is short, with a mark that something is missing', async () => {
  const { webhooks, stored, now } = await world()
  webhooks.event('invocation_ended', now, failed('x'.repeat(60_000)))
  webhooks.event('invocation_ended', now, failed('x'.repeat(70_000)))
  await vi.waitFor(() => expect(stored).toHaveLength(2))
  const [whole, cut] = stored.map(({ payload }) => JSON.parse(payload).data)
  expect(whole.error.message).toHaveLength(60_000)
  expect(whole.truncated).toBeUndefined()
  expect(cut).toEqual({
    invocationId: 'iv_1',
    nodeId: 'r1',
    command: 'saw.cut',
    error: { code: 'x' },
    truncated: true,
  })
})

test('two thousand deliveries of one turn wait for their commit, and the others are dropped and counted', async () => {
  const { webhooks, stored, log, now } = await world()
  for (let i = 0; i < 2100; i++)
    webhooks.event('principal_added', now, { name: `p${i}`, role: 'viewer' } as never)
  expect(webhooks.readings()).toMatchObject([{ dropped: 100 }])
  await vi.waitFor(() => expect(stored).toHaveLength(2000))
  expect(log.warn).toHaveBeenCalledWith(
    expect.objectContaining({ webhook: 'hook' }),
    expect.stringContaining('too many came at once'),
  )
  await settled()
  webhooks.event('principal_added', now, { name: 'later', role: 'viewer' } as never)
  await vi.waitFor(() => expect(stored).toHaveLength(2001))
})

test('events that wait for a slow store have sixteen mebibytes, and go into it in commits of a mebibyte', async () => {
  const slow = Promise.withResolvers<void>()
  const commits: WebhookDelivery[][] = []
  const { webhooks, log, now } = await world(
    {},
    {
      put: async (batch) => {
        commits.push([...batch])
        await slow.promise
        return new Map()
      },
    },
  )
  for (let turn = 0; turn < 10; turn++) {
    for (let i = 0; i < 40; i++) webhooks.event('invocation_ended', now, failed('x'.repeat(60_000)))
    await settled()
  }
  expect(commits).toHaveLength(1)
  const dropped = 400 - Math.ceil(16_777_216 / (commits[0]?.[0]?.payload.length ?? 0))
  expect(webhooks.readings()).toMatchObject([{ dropped }])
  expect(log.warn).toHaveBeenCalledTimes(1)
  slow.resolve()
  await vi.waitFor(() => expect(commits.flat()).toHaveLength(400 - dropped))
  for (const batch of commits)
    expect(batch.reduce((sum, { payload }) => sum + payload.length, 0)).toBeLessThanOrEqual(1_048_576)
  webhooks.event('invocation_ended', now, failed('later'))
  await vi.waitFor(() => expect(commits.flat()).toHaveLength(401 - dropped))
})

test('a webhook has the events, and is tried, from its first moment on, while the store is not read yet', async () => {
  const read = Promise.withResolvers<string[]>()
  const events = ['limb_offline', 'principal_added']
  const { webhooks, stored, registry, clock, posted, now } = await world(
    { events, offlineSeconds: 60 },
    { offline: () => read.promise },
  )
  webhooks.event('principal_added', now, { name: 'p1', role: 'viewer' } as never)
  await vi.waitFor(() => expect(stored).toHaveLength(1))
  void webhooks.test('hook', 'admin')
  await posted
  registry.add(offlineLimb('r1'))
  registry.add(offlineLimb('r2'))
  read.resolve(['r1', 'revoked'])
  await settled()
  clock.advance(70_000)
  await vi.waitFor(() => expect(stored).toHaveLength(2))
  expect(JSON.parse(stored[1]?.payload ?? '')).toMatchObject({
    type: 'limb_offline',
    data: { count: 1, limbs: [{ nodeId: 'r2' }] },
  })
})

test('a webhook whose limbs could not be read watches them as soon as the store answers again', async () => {
  const offline = vi.fn<WebhookQueue['offline']>(full)
  const { webhooks, stored, registry, clock, log } = await world(
    { events: ['limb_offline'], offlineSeconds: 60 },
    { offline },
  )
  registry.add(offlineLimb('r1'))
  await vi.waitFor(() => expect(log.warn).toHaveBeenCalledTimes(1))
  await expect(webhooks.prune()).rejects.toThrow('the disk is full')
  offline.mockResolvedValue([])
  await webhooks.prune()
  clock.advance(70_000)
  await vi.waitFor(() => expect(stored).toMatchObject([{ kind: 'limb_offline' }]))
  await webhooks.prune()
  expect(offline).toHaveBeenCalledTimes(3)
})

function offlineLimb(nodeId: string): LiveLimb {
  const presence = newPresence('approved', 0 as SteadyMs, 1000, presenceRule(undefined), undefined)
  return newLimb(provisionedNode({ nodeId }, 'admin', 0), presence, undefined)
}
