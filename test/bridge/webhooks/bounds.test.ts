import { expect, onTestFinished, test, vi } from 'vitest'
import { Registry } from '../../../src/bridge/live/registry.ts'
import type { WebhookDelivery } from '../../../src/bridge/webhook-ports.ts'
import { Webhooks } from '../../../src/bridge/webhooks/webhooks.ts'
import { resolveConfig } from '../../../src/host/config/config.ts'
import { openDatabase } from '../../../src/store/sqlite/database.ts'
import { createWebhookQueue } from '../../../src/store/sqlite/webhook-queue.ts'
import { settled, start } from '../fixture.ts'

/** What one event, and one turn of the event loop, may put into the queue of a webhook. */

const HOOK = {
  name: 'hook',
  url: 'https://hook.example/in',
  secret: `whsec_${Buffer.alloc(24, 7).toString('base64')}`,
  events: ['invocation_ended', 'principal_added'],
  maxQueued: 5000,
}

/** Webhooks on a real queue, to a receiver that never answers. */
async function world() {
  const { context, clock, log } = await start()
  const database = openDatabase({ file: ':memory:', clock, log })
  const queue = createWebhookQueue(database)
  const stored: WebhookDelivery[] = []
  const { config } = resolveConfig(
    { name: 'test', values: { webhooks: [HOOK] }, lineOf: () => undefined },
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
        },
        client: {
          post: (_request, signal) =>
            new Promise((done) => signal.addEventListener('abort', () => done({ failure: 'it was ended' }))),
        },
      },
    },
    new Registry(),
  )
  await webhooks.start()
  onTestFinished(async () => {
    await webhooks.stop()
    await database.close()
  })
  return { webhooks, stored, log, now: clock.wallMs() }
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
