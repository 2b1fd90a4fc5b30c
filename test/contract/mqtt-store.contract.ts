import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type MqttStore,
  messageBytes,
  type QueueMessage,
  type StoredMessage,
} from '../../src/bridge/mqtt-store.ts'
import type { Store } from '../../src/bridge/ports.ts'

/**
 * What every MqttStore must do, whatever it is made of. `open` opens an empty one that is closed after the test, and the
 * Store on the same database.
 */
export function mqttStoreContract(name: string, open: () => { mqtt: MqttStore; store: Store }): void {
  const make = () => open().mqtt
  describe(`the contract of MqttStore: ${name}`, () => {
    test('the sessions of an identity are forgotten with a decision about it, in the same commit', async () => {
      const { mqtt, store } = open()
      for (const [clientId, owner] of [
        ['cam x', 'cam'],
        ['cam y', 'cam'],
        ['cam2 x', 'cam2'],
      ] as const) {
        await mqtt.putSession(clientId, owner, 10)
        await mqtt.putSubscriptions([{ clientId, filter: 'a/#', qos: 1, extra: null }])
        await mqtt.enqueue([{ clientId, qos: 1, retain: false }], message(1))
        await mqtt.putIncoming(clientId, 7, stored('t'))
        await mqtt.putWill({ ...stored('w'), clientId, delaySeconds: 5, dueAt: null })
      }
      const failed = store.transact(async (tx) => {
        await tx.forgetSessions('cam')
        throw new Error('no')
      })
      await expect(failed).rejects.toThrow('no')
      expect(await mqtt.loadSessions()).toHaveLength(3)
      await store.transact((tx) => tx.forgetSessions('cam'))
      expect(await mqtt.loadSessions()).toMatchObject([{ clientId: 'cam2 x' }])
      expect(await mqtt.loadSubscriptions()).toMatchObject([{ clientId: 'cam2 x' }])
      expect(await mqtt.loadWills()).toMatchObject([{ clientId: 'cam2 x' }])
      expect(await mqtt.countIncoming('cam y')).toBe(0)
      expect(await mqtt.countIncoming('cam2 x')).toBe(1)
    })

    test('the queues of forgotten sessions go with deleteSessions, or with the next start', async () => {
      const { mqtt, store } = open()
      for (const clientId of ['cam x', 'cam y', 'cam2 x']) {
        await mqtt.putSession(clientId, clientId.split(' ')[0] ?? '', 10)
        await mqtt.enqueue([{ clientId, qos: 1, retain: false }], message(1))
      }
      await store.transact((tx) => tx.forgetSessions('cam'))
      await mqtt.deleteSessions(['cam x'])
      expect(await mqtt.queued('cam x', 0, 9)).toEqual([])
      // As a start after a kill.
      expect(await mqtt.cutSessions({ sessions: 9, subscriptions: 9 })).toBe(0)
      expect(await mqtt.queueSizes()).toMatchObject([{ clientId: 'cam2 x' }])
    })

    test('a session is forgotten with its subscriptions, queue and handshakes, and no other one is', async () => {
      const store = make()
      for (const clientId of ['c', 'cc']) {
        await store.putSession(clientId, `owner of ${clientId}`, 10)
        await store.putSubscriptions([{ clientId, filter: 'a/#', qos: 1, extra: '{"nl":true}' }])
        await store.enqueue([{ clientId, qos: 1, retain: false }], message(1))
        await store.putIncoming(clientId, 7, stored('t'))
      }
      await store.deleteSessions(['c'])
      expect(await store.loadSessions()).toEqual([
        { clientId: 'cc', owner: 'owner of cc', usedAt: 10, expirySeconds: null, leftAt: null },
      ])
      expect(await store.loadSubscriptions()).toEqual([
        { clientId: 'cc', filter: 'a/#', qos: 1, extra: '{"nl":true}' },
      ])
      expect([await store.queued('c', 0, 9), await store.queued('cc', 0, 9)]).toMatchObject([[], [{}]])
      expect([await store.incoming('c', 7), await store.countIncoming('cc')]).toEqual([null, 1])
    })

    test('of the sessions of one owner those beyond its number, and beyond its subscriptions, are forgotten, the oldest first', async () => {
      const store = make()
      for (const owner of ['ada', 'bob']) {
        for (let i = 0; i < 5; i++) {
          const clientId = `${owner} ${i}`
          await store.putSession(clientId, owner, 10 + i)
          const filters = Array.from({ length: owner === 'bob' && i === 3 ? 10 : 2 }, (_, n) => `f/${n}`)
          await store.putSubscriptions(filters.map((filter) => ({ clientId, filter, qos: 1, extra: null })))
          await store.enqueue([{ clientId, qos: 1, retain: false }], message(1))
          await store.putIncoming(clientId, 7, stored('t'))
        }
      }
      expect(await store.cutSessions({ sessions: 9, subscriptions: 99 })).toBe(0)
      // Of each its two oldest; and of bob's others the ones that do not fit beside the newest.
      expect(await store.cutSessions({ sessions: 3, subscriptions: 8 })).toBe(6)
      const left = ['ada 2', 'ada 3', 'ada 4', 'bob 4']
      expect((await store.loadSessions()).map(({ clientId }) => clientId).sort()).toEqual(left)
      const subscribed = new Set((await store.loadSubscriptions()).map(({ clientId }) => clientId))
      expect([...subscribed].sort()).toEqual(left)
      expect((await store.queueSizes()).map(({ clientId }) => clientId).sort()).toEqual(left)
      expect([await store.countIncoming('bob 0'), await store.countIncoming('bob 4')]).toEqual([0, 1])
    })

    test('a session keeps how long it outlives its connection, and takes its will along', async () => {
      const store = make()
      await store.putSession('a', 'ada', 10, 'now', { expirySeconds: 60, leftAt: null })
      await store.putSession('a', 'ada', 20, 'soon', { expirySeconds: 60, leftAt: 20 })
      const will = { ...stored('w'), clientId: 'a', delaySeconds: 5, dueAt: 25 }
      await store.putWill({ ...will, dueAt: null })
      await store.putWill(will)
      await store.putWill({ ...will, clientId: 'b' })
      expect(await store.loadSessions()).toEqual([
        { clientId: 'a', owner: 'ada', usedAt: 20, expirySeconds: 60, leftAt: 20 },
      ])
      expect(await store.loadWills()).toMatchObject([
        { clientId: 'a', topic: 'w', delaySeconds: 5, dueAt: 25 },
        { clientId: 'b' },
      ])
      await store.deleteWill('b')
      await store.deleteSessions(['a'])
      expect(await store.loadWills()).toEqual([])
    })

    test('a session that comes back while it is forgotten has nothing of before, and keeps what comes', async () => {
      const store = make()
      await store.putSession('c', 'ada', 10)
      for (const n of [1, 2, 3])
        await store.enqueue([{ clientId: 'c', qos: 1, retain: false }], {
          ...message(n),
          payload: Buffer.alloc(1024 * 1024, n),
        })
      const forgotten = store.deleteSessions(['c'])
      const back = store.putSession('c', 'ada', 20)
      const queued = store.enqueue([{ clientId: 'c', qos: 1, retain: false }], message(4))
      await Promise.all([forgotten, back, queued])
      expect(await store.loadSessions()).toMatchObject([{ clientId: 'c', usedAt: 20 }])
      expect(await store.queueSizes()).toMatchObject([{ clientId: 'c', messages: 1 }])
    })

    test('sessions are found by when they were last used', async () => {
      const store = make()
      await store.putSession('a', 'ada', 10)
      await store.putSession('b', 'ada', 20)
      await store.putSession('c', 'bob', 30)
      expect([...(await store.sessionsIdleSince(20))]).toEqual(['a'])
      void store.putSession('a', 'ada', 40, 'soon')
      expect(await store.sessionsIdleSince(20)).toEqual([])
    })

    test('a queue is read in order and in pages, and its numbers are never used again', async () => {
      const store = make()
      const numbers: number[] = []
      for (let i = 1; i <= 5; i++) {
        numbers.push(...(await store.enqueue([{ clientId: 'c', qos: 1, retain: false }], message(i))))
      }
      expect([...numbers].sort((a, b) => a - b)).toEqual(numbers)
      const first = await store.queued('c', 0, 3)
      expect(first.map((each) => each.brokerCounter)).toEqual([1, 2, 3])
      const rest = await store.queued('c', first[2]?.sequence ?? 0, 3)
      expect(rest.map((each) => each.brokerCounter)).toEqual([4, 5])
      const last = numbers.at(-1) ?? 0
      await store.deleteQueued('c', last)
      const [next = 0] = await store.enqueue([{ clientId: 'c', qos: 1, retain: false }], message(6))
      expect(next).toBeGreaterThan(last)
      const bytes = 5 * ('topic'.length + 'payload'.length)
      expect(await store.queueSizes()).toEqual([
        { clientId: 'c', messages: 5, bytes, newest: next, newestCounter: 6 },
      ])
    })

    test('each session has its own copy, with its own QoS, identifier and stage', async () => {
      const store = make()
      const [a = 0, b = 0] = await store.enqueue(
        [
          { clientId: 'a', qos: 2, retain: true },
          { clientId: 'b', qos: 1, retain: false },
        ],
        message(1),
      )
      await store.updateQueued('a', a, { messageId: 5 }, 'now')
      await store.updateQueued('a', a, { stage: 'pubrel' }, 'now')
      // Not its own: nothing happens.
      await store.updateQueued('a', b, { messageId: 9 }, 'now')
      await store.deleteQueued('a', b)
      expect(await store.queued('a', 0, 9)).toMatchObject([
        { qos: 2, retain: true, messageId: 5, stage: 'pubrel' },
      ])
      expect(await store.queued('b', 0, 9)).toMatchObject([
        { qos: 1, retain: false, messageId: null, stage: 'publish', topic: 'topic' },
      ])
      expect(await store.queuedOne('b', b)).toMatchObject({ sequence: b })
      expect(await store.queuedOne('a', b)).toBeNull()
    })

    test('a read sees the writes that nobody waits for', async () => {
      const store = make()
      const [sequence = 0] = await store.enqueue([{ clientId: 'c', qos: 1, retain: false }], message(1))
      void store.updateQueued('c', sequence, { messageId: 3 }, 'soon')
      expect(await store.queued('c', 0, 9)).toMatchObject([{ messageId: 3 }])
      void store.deleteQueued('c', sequence)
      expect(await store.queued('c', 0, 9)).toEqual([])
    })

    test('an incoming message is there until it is deleted, once', async () => {
      const store = make()
      await store.putIncoming('c', 1, stored('t', { qos: 2, retain: true, extra: '{}' }))
      expect(await store.incoming('c', 1)).toEqual(stored('t', { qos: 2, retain: true, extra: '{}' }))
      expect(await store.deleteIncoming('c', 1)).toBe(true)
      expect(await store.deleteIncoming('c', 1)).toBe(false)
      await store.putIncoming('c', 2, stored('t'))
      await store.deleteAllIncoming('c')
      expect(await store.incoming('c', 2)).toBeNull()
    })

    test('retained messages whose time is up are deleted, page by page', async () => {
      const store = make()
      const limits = { total: 99, totalBytes: 1e9, below: undefined }
      for (const [topic, extra] of [
        ['a', '{"expiresAt":100}'],
        ['b', null],
        ['c', '{"expiresAt":300}'],
        ['d', '{"expiresAt":150}'],
      ] as const) {
        await store.putRetained(stored(topic, { extra }), limits, 'now')
      }
      expect(await store.deleteExpiredRetained('', 2, 200)).toBe('b')
      expect(await store.retainedTopics('', '', 9)).toEqual(['b', 'c', 'd'])
      expect(await store.deleteExpiredRetained('b', 9, 200)).toBeUndefined()
      expect(await store.retainedTopics('', '', 9)).toEqual(['b', 'c'])
    })

    test('new retained topics have a limit in all and one below a prefix; known ones are always replaced', async () => {
      const store = make()
      const limits = { total: 4, totalBytes: 1e9, below: { prefix: 'n/a/data/', max: 2, maxBytes: 1e9 } }
      const put = (topic: string, text = 'x') =>
        store.putRetained(stored(topic, { payload: Buffer.from(text) }), limits, 'now')
      expect(await Promise.all([put('n/a/data/1'), put('n/a/data/2'), put('n/a/data/3')])).toEqual([
        'stored',
        'stored',
        'too_many_below',
      ])
      expect(await put('n/a/data/2', 'y')).toBe('stored')
      expect((await store.retained('n/a/data/2'))?.payload).toEqual(Buffer.from('y'))
      const elsewhere = { total: 4, totalBytes: 1e9, below: undefined }
      for (const [topic, outcome] of [
        ['b', 'stored'],
        ['c', 'stored'],
        ['d', 'too_many'],
      ] as const) {
        expect(await store.putRetained(stored(topic), elsewhere, 'now')).toBe(outcome)
      }
      expect(await store.deleteRetainedBelow('n/a/data/')).toHaveLength(2)
      await store.deleteRetained('b', 'now')
      expect(await store.putRetained(stored('d'), elsewhere, 'now')).toBe('stored')
      expect(await store.retainedTopics('', '', 9)).toHaveLength(2)
    })

    test('retained bytes have a limit in all and one below a prefix; what is not kept leaves nothing older behind', async () => {
      const store = make()
      const limits = { total: 100, totalBytes: 300, below: { prefix: 'n/a/data/', max: 100, maxBytes: 200 } }
      const nobodys = { ...limits, below: undefined }
      const put = (topic: string, bytes: number, within: typeof limits | typeof nobodys = limits) =>
        store.putRetained(stored(topic, { payload: Buffer.alloc(bytes) }), within, 'now')
      expect(await put('n/a/data/1', 90)).toBe('stored')
      expect(await put('n/a/data/2', 91)).toBe('too_many_bytes_below')
      expect(await put('n/a/data/2', 80)).toBe('stored')
      expect(await put('n/a/data/1', 80)).toBe('stored')
      expect(await put('n/a/data/1', 101)).toBe('too_many_bytes_below')
      expect(await store.retained('n/a/data/1')).toBeNull()
      expect(await put('n/a/data/1', 90)).toBe('stored')
      expect(await put('o', 110, nobodys)).toBe('too_many_bytes')
      expect(await put('o', 100, nobodys)).toBe('stored')
      await store.deleteRetained('o', 'now')
      expect(await put('p', 105, nobodys)).toBe('stored')
      await store.deleteRetainedBelow('n/a/data/')
      expect(await put('n/a/data/3', 180)).toBe('stored')
      expect(await put('q', 10, nobodys)).toBe('too_many_bytes')
    })

    test('what MQTT 5 says beside a payload is counted with it, of retained messages and of queues', async () => {
      const store = make()
      const limits = { total: 100, totalBytes: 1000, below: undefined }
      const extra = JSON.stringify({ properties: 'p'.repeat(600) })
      expect(await store.putRetained(stored('a', { extra }), limits, 'now')).toBe('stored')
      expect(await store.putRetained(stored('b', { extra }), limits, 'now')).toBe('too_many_bytes')
      await store.deleteRetained('a', 'now')
      expect(await store.putRetained(stored('b', { extra }), limits, 'now')).toBe('stored')
      await store.enqueue([{ clientId: 'c', qos: 1, retain: false }], { ...message(1), extra })
      expect(await store.queueSizes()).toMatchObject([
        { clientId: 'c', bytes: messageBytes({ ...message(1), extra }) },
      ])
    })

    test('pages of retained topics together are exactly those below the prefix, at any page size', async () => {
      const level = fc.constantFrom('', 'a', 'b', 'a0', 'a/', '\u{10FFFF}', '/', '.', 'ä', '0')
      const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(topic, { maxLength: 30 }),
          fc.constantFrom('', 'a/', 'a/b/', '/', 'ä/'),
          fc.integer({ min: 1, max: 5 }),
          async (topics, prefix, limit) => {
            const store = make()
            const some = topics.filter((each) => each !== '')
            for (const each of some)
              void store.putRetained(stored(each), { total: 999, totalBytes: 1e9, below: undefined }, 'soon')
            const found: string[] = []
            for (let after = ''; ; ) {
              const page = await store.retainedTopics(prefix, after, limit)
              found.push(...page)
              if (page.length < limit) break
              after = page.at(-1) ?? ''
            }
            const expected = some.filter((each) => each.startsWith(prefix))
            expect(found).toEqual(expected.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))))
            if (prefix === '') return
            expect([...(await store.deleteRetainedBelow(prefix))].sort()).toEqual([...expected].sort())
            expect(await store.retainedTopics('', '', 1000)).toHaveLength(some.length - expected.length)
          },
        ),
        { numRuns: 60 },
      )
    })
  })
}

function message(brokerCounter: number): QueueMessage {
  return { topic: 'topic', payload: Buffer.from('payload'), extra: null, brokerId: 'b', brokerCounter }
}

function stored(topic: string, changes: Partial<StoredMessage> = {}): StoredMessage {
  return { topic, payload: Buffer.from('x'), qos: 0, retain: false, extra: null, ...changes }
}
