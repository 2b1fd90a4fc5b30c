import { describe, expect, test } from 'vitest'
import type { Store } from '../../src/bridge/ports.ts'
import type { WebhookDelivery, WebhookQueue } from '../../src/bridge/webhook-ports.ts'
import { nodeOf } from './store.contract.ts'

interface Made {
  readonly queue: WebhookQueue
  readonly store: Store
}

/** What every WebhookQueue must do, whatever it is made of. `make` opens an empty one that is closed after the test. */
export function webhookQueueContract(name: string, make: () => Promise<Made>): void {
  describe(`the contract of WebhookQueue: ${name}`, () => {
    test('gives those that were tried least, of them the urgent ones, of them the oldest', async () => {
      const { queue } = await make()
      await queue.put([delivery('a'), delivery('b', { urgent: true }), delivery('c')], many)
      const order: string[] = []
      for (let i = 0; i < 3; i++) {
        const next = await queue.next('hook')
        order.push(next?.deliveryId ?? '')
        if (i === 0 && next !== null) await queue.tried(next.seq)
        else if (next !== null) await queue.delete(next.seq)
      }
      expect(order).toEqual(['b', 'a', 'c'])
      expect(await queue.next('hook')).toEqual({ ...delivery('b', { urgent: true }), seq: 2, attempts: 1 })
      expect(await queue.next('other')).toBeNull()
      expect(queue.sizes()).toEqual(new Map([['hook', 1]]))
    })

    test('beyond its bound the oldest of the kind of which there are most go', async () => {
      const { queue } = await make()
      const flood = [1, 2, 3, 4].map((n) => delivery(`flood-${n}`, { kind: 'limb_offline' }))
      const dropped = await queue.put([delivery('rare'), ...flood], () => 3)
      expect(dropped).toEqual(new Map([['hook', 2]]))
      expect(queue.sizes()).toEqual(new Map([['hook', 3]]))
      const left: string[] = []
      for (let next = await queue.next('hook'); next !== null; next = await queue.next('hook')) {
        left.push(next.deliveryId)
        await queue.delete(next.seq)
      }
      expect(left).toEqual(['rare', 'flood-3', 'flood-4'])
      expect(queue.sizes()).toEqual(new Map())
    })

    test('beyond its bound as many go of the next kinds as of the first, the oldest of each', async () => {
      const { queue } = await make()
      const of = (kind: string, count: number) =>
        Array.from({ length: count }, (_, i) => delivery(`${kind}-${i}`, { kind }))
      expect(await queue.put([...of('a', 5), ...of('b', 4), ...of('c', 1)], () => 6)).toEqual(
        new Map([['hook', 4]]),
      )
      const left: string[] = []
      for (let next = await queue.next('hook'); next !== null; next = await queue.next('hook')) {
        left.push(next.deliveryId)
        await queue.delete(next.seq)
      }
      expect(left).toEqual(['a-3', 'a-4', 'b-1', 'b-2', 'b-3', 'c-0'])
    })

    test('gives up hundreds whose time is over, and of webhooks that are no more, and counts each', async () => {
      const { queue, store } = await make()
      const many = Array.from({ length: 250 }, (_, i) => i)
      await store.transact(async (tx) => {
        for (const i of many) await tx.putNode(nodeOf(`cam-${i}`))
      })
      for (const webhook of ['hook', 'gone', 'stays']) {
        const expiresAt = webhook === 'stays' ? 101 : 100
        await queue.put(
          many.map((i) => delivery(`${webhook}-${i}`, { webhook, expiresAt })),
          () => 1000,
        )
        await queue.setOffline(
          webhook,
          many.map((i) => `cam-${i}`),
          true,
        )
      }
      expect(await queue.prune(100, () => ['hook', 'stays'])).toEqual(
        new Map([
          ['gone', 250],
          ['hook', 250],
        ]),
      )
      expect(queue.sizes()).toEqual(new Map([['stays', 250]]))
      expect(await queue.offline('gone')).toEqual([])
      expect(await queue.offline('hook')).toHaveLength(250)
    })

    test('deletes those whose time is over, and all of webhooks that are named no more', async () => {
      const { queue } = await make()
      const old = delivery('old', { expiresAt: 100 })
      const batch = [old, delivery('new', { expiresAt: 101 }), delivery('gone', { webhook: 'gone' })]
      await queue.put(batch, many)
      expect(await queue.prune(100, () => ['hook'])).toEqual(
        new Map([
          ['gone', 1],
          ['hook', 1],
        ]),
      )
      expect(queue.sizes()).toEqual(new Map([['hook', 1]]))
      expect(await queue.prune(100, () => ['hook'])).toEqual(new Map())
      expect(await queue.prune(100, () => [])).toEqual(new Map([['hook', 1]]))
    })

    test('knows the limbs that a webhook was told of, as long as there are both', async () => {
      const { queue, store } = await make()
      await store.transact(async (tx) => {
        for (const id of ['cam-1', 'cam-2', 'cam-3']) await tx.putNode(nodeOf(id))
      })
      await queue.setOffline('hook', ['cam-2', 'cam-1', 'cam-3', 'nobody'], true)
      await queue.setOffline('hook', ['cam-1'], true)
      await queue.setOffline('gone', ['cam-1'], true)
      expect(await queue.offline('hook')).toEqual(['cam-1', 'cam-2', 'cam-3'])
      await queue.setOffline('hook', ['cam-2'], false)
      await store.transact((tx) => tx.deleteNode('cam-3'))
      await queue.prune(0, () => ['hook'])
      expect(await queue.offline('hook')).toEqual(['cam-1'])
      expect(await queue.offline('gone')).toEqual([])
    })

    test('what is told of many limbs comes before what is told of some of them later', async () => {
      const { queue, store } = await make()
      const nodeIds = Array.from({ length: 250 }, (_, i) => `cam-${i}`)
      await store.transact(async (tx) => {
        for (const nodeId of nodeIds) await tx.putNode(nodeOf(nodeId))
      })
      const told = [
        queue.setOffline('hook', nodeIds, true),
        queue.setOffline('hook', ['cam-0', 'cam-249'], false),
      ]
      expect((await queue.offline('hook')).toSorted()).toEqual(nodeIds.slice(1, -1).toSorted())
      await Promise.all(told)
    })

    test('texts come back as they were given', async () => {
      const { queue } = await make()
      const payload = 'a\0b \u{1f9be} \uFDD0'
      await queue.put([delivery('a', { payload })], many)
      expect(await queue.next('hook')).toMatchObject({ payload })
    })
  })
}

const many = () => 100

function delivery(deliveryId: string, changes: Partial<WebhookDelivery> = {}): WebhookDelivery {
  const whole = { webhook: 'hook', kind: 'limb_online', urgent: false, payload: '{}', expiresAt: 1000 }
  return { ...whole, deliveryId, ...changes }
}
