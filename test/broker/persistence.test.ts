import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { PublishPacket } from '../../src/broker/persistence/packets.ts'
import type {
  DropKind,
  MqttPersistence,
  PersistenceOptions,
} from '../../src/broker/persistence/persistence.ts'
import { packetsOf } from '../../src/broker/retained-for.ts'
import { createMqttStore } from '../../src/store/sqlite/mqtt/store.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LIMITS, open, persistenceOn, viewOf } from './persistence-fixture.ts'

const broker = { id: 'limb-bridge' }

async function make(changes: Partial<PersistenceOptions> = {}, slice: object = broker) {
  const database = open()
  onTestFinished(() => database.close())
  const persistence = persistenceOn(database, changes)
  await persistence.setup({ ...broker, ...slice })
  return { database, persistence, store: createMqttStore(database) }
}

function packet(topic: string, payload = 'x', changes: Partial<PublishPacket> = {}): PublishPacket {
  return {
    cmd: 'publish',
    topic,
    payload: Buffer.from(payload),
    qos: 1,
    retain: false,
    brokerId: broker.id,
    ...changes,
  }
}

async function retained(persistence: MqttPersistence, ...filters: string[]): Promise<string[]> {
  const found: string[] = []
  for await (const portion of persistence.retained(filters)) {
    for (const { topic, payload } of await packetsOf(portion)) found.push(`${topic}=${String(payload)}`)
  }
  return found
}

async function queue(persistence: MqttPersistence, id: string): Promise<PublishPacket[]> {
  const found: PublishPacket[] = []
  for await (const each of persistence.outgoingStream({ id })) found.push(each as PublishPacket)
  return found
}

describe('retained messages', () => {
  test("the bridge's own come from the view and are never stored", async () => {
    const owned = new Map([['limb/node/a/status', 'online']])
    const { persistence, store } = await make({ view: viewOf(owned) })
    await persistence.storeRetained(packet('limb/node/a/status', 'stale', { retain: true }))
    await persistence.storeRetained(packet('limb/node/a/data/t', '21', { retain: true }))
    expect(await store.retainedTopics('', '', 9)).toEqual(['limb/node/a/data/t'])
    expect(await retained(persistence, 'limb/node/+/status')).toEqual(['limb/node/a/status=online'])
    expect(await retained(persistence, 'limb/node/a/status')).toEqual(['limb/node/a/status=online'])
    expect((await retained(persistence, 'limb/#')).sort()).toEqual([
      'limb/node/a/data/t=21',
      'limb/node/a/status=online',
    ])
  })

  test.each([
    ['a/+', ['a/', 'a/b']],
    ['a/#', ['a', 'a/', 'a/b', 'a/b/c']],
    ['a/+/c', ['a/b/c']],
    ['a/b/#', ['a/b', 'a/b/c']],
    ['+', ['a', 'a0']],
    ['#', ['/a', 'a', 'a/', 'a/b', 'a/b/c', 'a0']],
    ['/+', ['/a']],
    ['+/b/#', ['a/b', 'a/b/c']],
    ['a/b', ['a/b']],
    ['$x/#', ['$x/y']],
    ['none', []],
  ])('%s matches what MQTT says', async (filter, expected) => {
    const { persistence } = await make()
    for (const topic of ['a', 'a/', 'a/b', 'a/b/c', 'a0', '/a', '$x/y']) {
      await persistence.storeRetained(packet(topic, 'x', { retain: true }))
    }
    expect((await retained(persistence, filter)).sort()).toEqual(expected.map((topic) => `${topic}=x`).sort())
  })

  test('many pages of them are found, while others are written', async () => {
    const { persistence } = await make()
    for (let i = 0; i < 1000; i++) {
      await persistence.storeRetained(packet(`limb/node/n${i}/data/t`, 'x', { retain: true, qos: 0 }))
    }
    const found = retained(persistence, 'limb/node/+/data/t')
    await persistence.storeRetained(packet('zzz', 'x', { retain: true }))
    expect(await found).toHaveLength(1000)
  })

  test('a new topic beyond the limits is dropped and counted, and one limb does not use up the others', async () => {
    const dropped: DropKind[] = []
    const { persistence } = await make({
      limits: {
        ...LIMITS,
        maxRetained: 3,
        retainedBelow: (topic) =>
          topic.startsWith('n/a/') ? { prefix: 'n/a/', max: 1, maxBytes: 1e9 } : undefined,
      },
      onDropped: (kind) => dropped.push(kind),
    })
    for (const topic of ['n/a/1', 'n/a/2', 'b', 'c', 'd']) {
      await persistence.storeRetained(packet(topic, 'x', { retain: true }))
    }
    expect(dropped).toEqual(['retained_below', 'retained'])
    expect(await persistence.clearRetainedBelow('n/a/')).toEqual(['n/a/1'])
    expect(await retained(persistence, '#')).toEqual(['b=x', 'c=x'])
  })

  test('a reader that is slow is never told a status that is older than what it was told live', async () => {
    const owned = new Map(Array.from({ length: 40 }, (_, i) => [`limb/node/n${i}/status`, 'offline']))
    const { persistence } = await make({ view: viewOf(owned) })
    const seen = new Map<string, string>()
    let taken = 0
    for await (const portion of persistence.retained(['limb/node/+/status'])) {
      for (const { topic, payload } of await packetsOf(portion)) {
        seen.set(topic, String(payload))
        await nextTurn()
        if (++taken < 5) continue
        // While the reader takes what is retained, the live messages about all limbs leave.
        for (const each of owned.keys()) {
          if (owned.get(each) === 'online') continue
          owned.set(each, 'online')
          seen.set(each, 'online')
        }
      }
    }
    expect(new Set(seen.values())).toEqual(new Set(['online']))
    expect(seen.size).toBe(40)
  })
})

describe('subscriptions', () => {
  test('names of the prototype are names like others', async () => {
    const { persistence } = await make()
    const names = ['__proto__', 'constructor', 'hasOwnProperty']
    for (const id of names) await persistence.addSubscriptions({ id }, [{ topic: `${id}/#`, qos: 1 }])
    for (const id of names) {
      expect(await persistence.subscriptionsByClient({ id })).toEqual([{ topic: `${id}/#`, qos: 1 }])
      expect(await persistence.subscriptionsByTopic(`${id}/x`)).toMatchObject([{ clientId: id }])
      await persistence.outgoingEnqueueCombi([{ clientId: id }], packet(`${id}/x`))
      expect(await queue(persistence, id)).toHaveLength(1)
    }
    expect(await persistence.subscriptionsByClient({ id: 'toString' })).toEqual([])
  })

  test('`a/+` queues what is published on `a/`', async () => {
    const { persistence } = await make()
    await persistence.addSubscriptions({ id: 'c' }, [{ topic: 'a/+', qos: 1 }])
    expect(await persistence.subscriptionsByTopic('a/')).toHaveLength(1)
  })

  test('subscribing to what is stored already, and a clean CONNECT of who has nothing stored, write nothing', async () => {
    const { persistence, database } = await make()
    await persistence.addSubscriptions({ id: 'c' }, [{ topic: 'a', qos: 1 }])
    const write = vi.spyOn(database.writer, 'write')
    await persistence.addSubscriptions({ id: 'c' }, [{ topic: 'a', qos: 1 }])
    await persistence.cleanSubscriptions({ id: 'other' })
    await persistence.cleanIncoming({ id: 'other' })
    await persistence.outgoingEnqueueCombi(await persistence.subscriptionsByTopic('b'), packet('b'))
    expect(write).not.toHaveBeenCalled()
  })
})

describe('queues', () => {
  const sub = { clientId: 'c', qos: 1 as const }

  test('a full queue drops the newest, counts it, and the session is told to look again', async () => {
    const dropped: DropKind[] = []
    const { persistence } = await make({
      limits: { ...LIMITS, maxQueuedPerSession: 2, maxQueuedBytesPerIdentity: 100 },
      onDropped: (kind) => dropped.push(kind),
    })
    await persistence.sessions.put('c', 'ada')
    expect(persistence.sessions.takeStale('c')).toBe(false)
    for (const [i, payload] of ['1', 'x'.repeat(101), '2', '3'].entries()) {
      await persistence.outgoingEnqueueCombi([sub], packet('t', payload, { brokerCounter: i + 1 }))
    }
    expect(dropped).toEqual(['queue_bytes', 'queue'])
    expect((await queue(persistence, 'c')).map(({ payload }) => String(payload))).toEqual(['1', '2'])
    expect(persistence.sessions.takeStale('c')).toBe(true)
    expect(persistence.sessions.takeStale('c')).toBe(false)
  })

  test('properties of MQTT 5 count as bytes of a queue', async () => {
    const dropped: DropKind[] = []
    const { persistence } = await make({
      limits: { ...LIMITS, maxQueuedBytesPerIdentity: 1000 },
      onDropped: (kind) => dropped.push(kind),
    })
    await persistence.sessions.put('c', 'ada')
    for (const brokerCounter of [1, 2]) {
      const sent = Object.assign(packet('t', '1', { brokerCounter }), { properties: Buffer.alloc(600) })
      await persistence.outgoingEnqueueCombi([sub], sent)
    }
    expect(dropped).toEqual(['queue_bytes'])
    expect(persistence.queued.bytes).toBeGreaterThan(600)
  })

  test('all queues together have a bound in bytes, and none is kept beyond that of the database', async () => {
    const dropped: DropKind[] = []
    const { persistence, database } = await make({
      limits: { ...LIMITS, maxQueuedBytes: 250 },
      onDropped: (kind) => dropped.push(kind),
    })
    for (const [i, name] of ['ada', 'bob', 'cyd'].entries()) {
      await persistence.sessions.put(`${name} c`, name)
      const subscription = { clientId: `${name} c`, qos: 1 as const }
      await persistence.outgoingEnqueueCombi(
        [subscription],
        packet('t', 'x'.repeat(99), { brokerCounter: i + 1 }),
      )
    }
    expect(dropped).toEqual(['queue_bytes'])
    expect(persistence.queued).toEqual({ messages: 2, bytes: 200 })
    database.room.setMaxBytes(1)
    await persistence.outgoingEnqueueCombi(
      [{ clientId: 'ada c', qos: 1 }],
      packet('t', '1', { brokerCounter: 4 }),
    )
    expect(dropped).toEqual(['queue_bytes', 'database'])
  })

  test('an acknowledgement makes room again', async () => {
    const { persistence } = await make({ limits: { ...LIMITS, maxQueuedPerSession: 1 } })
    for (let i = 1; i <= 3; i++) {
      const next = packet('t', `${i}`, { brokerCounter: i })
      await persistence.outgoingEnqueueCombi([sub], next)
      await persistence.outgoingUpdate({ id: 'c' }, { ...next, messageId: i })
      expect(await persistence.outgoingClearMessageId({ id: 'c' }, { messageId: i })).toMatchObject({
        messageId: i,
        brokerCounter: i,
      })
    }
    expect(await queue(persistence, 'c')).toEqual([])
  })

  test('a session with overlapping subscriptions has one copy, at the highest QoS granted, without RETAIN', async () => {
    const { persistence } = await make()
    const message = packet('a/b', 'x', { qos: 2, retain: true, brokerCounter: 1 })
    await persistence.addSubscriptions({ id: 'c' }, [
      { topic: 'a/#', qos: 1 },
      { topic: 'a/+', qos: 2 },
    ])
    const subscribers = await persistence.subscriptionsByTopic('a/b')
    await persistence.outgoingEnqueueCombi(subscribers, message)
    await persistence.outgoingEnqueueCombi([...subscribers].reverse(), message)
    expect(await queue(persistence, 'c')).toMatchObject([
      { qos: 2, retain: false },
      { qos: 2, retain: false },
    ])
  })

  test('what nobody queued is acknowledged all the same: retained messages and second copies', async () => {
    const { persistence } = await make()
    await persistence.outgoingUpdate({ id: 'c' }, { cmd: 'pubrel', messageId: 9 })
    await persistence.outgoingUpdate({ id: 'c' }, packet('t', 'x', { brokerCounter: 5, messageId: 9 }))
    expect(await persistence.outgoingClearMessageId({ id: 'c' }, { messageId: 9 })).toBeUndefined()
  })

  test('what comes after the stream was opened is not in it: it is sent live', async () => {
    const { persistence } = await make()
    for (let i = 1; i <= 40; i++)
      await persistence.outgoingEnqueueCombi([sub], packet('t', `${i}`, { brokerCounter: i }))
    const stream = persistence.outgoingStream({ id: 'c' })
    await persistence.outgoingEnqueueCombi([sub], packet('t', 'late', { brokerCounter: 41 }))
    const found: string[] = []
    for await (const { payload } of stream) found.push(String(payload))
    expect(found).toEqual(Array.from({ length: 40 }, (_, i) => `${i + 1}`))
  })

  test('MQTT 5 properties, bytes in them and text payloads come back as they were', async () => {
    const { persistence } = await make()
    const properties = { correlationData: Buffer.from([0, 255]), userProperties: { a: ['b', 'c'] } }
    const message = {
      ...packet('t', '', { brokerCounter: 1 }),
      payload: 'text',
      properties,
      messageExpiry: 99,
    }
    await persistence.outgoingEnqueueCombi([sub], message)
    expect(await queue(persistence, 'c')).toMatchObject([{ payload: 'text', properties, messageExpiry: 99 }])
  })

  test('a disk that fails rejects what was to be kept, and neither ends a session nor loses count', async () => {
    const { persistence, database } = await make({ limits: { ...LIMITS, maxQueuedPerSession: 2 } })
    await persistence.outgoingEnqueueCombi([sub], packet('t', '1', { brokerCounter: 1 }))
    database.sql.pragma('query_only = ON')
    await expect(
      persistence.outgoingEnqueueCombi([sub], packet('t', '2', { brokerCounter: 2 })),
    ).rejects.toMatchObject({
      code: 'storage_unavailable',
    })
    await persistence.outgoingUpdate(
      { id: 'c' },
      packet('t', '1', { brokerCounter: 1, messageId: 1, qos: 2 }),
    )
    await persistence.storeRetained(packet('r', 'x', { retain: true, qos: 0 }))
    await persistence.outgoingClearMessageId({ id: 'c' }, { messageId: 1 })
    // With this one fails what nobody waited for.
    await expect(
      persistence.outgoingEnqueueCombi([sub], packet('t', '2', { brokerCounter: 2 })),
    ).rejects.toThrow()
    await nextTurn()
    database.sql.pragma('query_only = OFF')
    expect((await queue(persistence, 'c')).map(({ payload }) => String(payload))).toEqual(['1'])
    await persistence.outgoingEnqueueCombi([sub], packet('t', '3', { brokerCounter: 3 }))
    expect((await queue(persistence, 'c')).map(({ payload }) => String(payload))).toEqual(['1', '3'])
  })

  test('a session that could not be forgotten leaves nothing to who has its name next', async () => {
    const { persistence, database } = await make()
    await persistence.sessions.put('ada c', 'ada')
    await persistence.outgoingEnqueueCombi(
      [{ clientId: 'ada c', qos: 1 }],
      packet('t', 'old', { brokerCounter: 1 }),
    )
    // The decision is stored, and what follows it fails.
    await createStore(database).transact((tx) => tx.forgetSessions('ada'))
    database.sql.pragma('query_only = ON')
    await expect(persistence.sessions.forget('ada')).rejects.toMatchObject({ code: 'storage_unavailable' })
    database.sql.pragma('query_only = OFF')
    await persistence.sessions.put('ada c', 'ada')
    await persistence.outgoingEnqueueCombi(
      [{ clientId: 'ada c', qos: 1 }],
      packet('t', 'new', { brokerCounter: 2 }),
    )
    expect((await queue(persistence, 'ada c')).map(({ payload }) => String(payload))).toEqual(['new'])
  })

  test('a large message that a failing disk keeps for some of its sessions counts for those', async () => {
    const database = open()
    onTestFinished(() => database.close())
    const whole = createMqttStore(database)
    let portions = 0
    const store = {
      ...whole,
      enqueue: (...[targets, message]: Parameters<typeof whole.enqueue>) =>
        portions++ === 0 ? whole.enqueue(targets, message) : Promise.reject(new Error('disk full')),
    }
    const limits = { ...LIMITS, maxQueuedBytesPerIdentity: 10 * 1024 * 1024 }
    const persistence = persistenceOn(database, { store, limits })
    await persistence.setup(broker)
    const names = ['ada', 'bob', 'cyd']
    for (const name of names) await persistence.sessions.put(`${name} c`, name)
    const large = packet('t', 'x'.repeat(512 * 1024 - 1), { brokerCounter: 1 })
    const targets = names.map((name) => ({ clientId: `${name} c`, qos: 1 as const }))
    await expect(persistence.outgoingEnqueueCombi(targets, large)).rejects.toThrow('disk full')
    expect(portions).toBe(2)
    expect(persistence.queued).toEqual({ messages: 2, bytes: 1024 * 1024 })
    expect(await queue(persistence, 'ada c')).toHaveLength(1)
    expect(await queue(persistence, 'cyd c')).toHaveLength(0)
  })
})

describe('QoS 2 that is received', () => {
  test('is in memory for a clean session and bounded on disk for others', async () => {
    const { persistence, store } = await make({ limits: { ...LIMITS, maxInflightPerSession: 2 } })
    const message = (messageId: number) => packet('t', 'x', { qos: 2, messageId })
    await persistence.incomingStorePacket({ id: 'clean', clean: true }, message(1))
    expect(await persistence.incomingGetPacket({ id: 'clean', clean: true }, { messageId: 1 })).toBeDefined()
    expect(await store.countIncoming('clean')).toBe(0)
    await persistence.cleanIncoming({ id: 'clean', clean: true })
    await expect(
      persistence.incomingGetPacket({ id: 'clean', clean: true }, { messageId: 1 }),
    ).rejects.toThrow()

    for (const id of [1, 2]) await persistence.incomingStorePacket({ id: 'c' }, message(id))
    await expect(persistence.incomingStorePacket({ id: 'c' }, message(3))).rejects.toThrow(/2 QoS 2 messages/)
  })
})

describe('stored sessions', () => {
  test('belong to an identity, and go with it', async () => {
    const { persistence, store } = await make()
    const { sessions } = persistence
    expect(sessions.ownerOf('c')).toBeUndefined()
    await sessions.put('c', 'ada')
    await sessions.put('d', 'bob')
    for (const clientId of ['c', 'd']) {
      await persistence.addSubscriptions({ id: clientId }, [{ topic: 't', qos: 1 }])
    }
    await sessions.forget('ada')
    expect([sessions.ownerOf('c'), sessions.ownerOf('d')]).toEqual([undefined, 'bob'])
    expect(await persistence.subscriptionsByTopic('t')).toMatchObject([{ clientId: 'd' }])
    expect(await store.loadSessions()).toMatchObject([{ clientId: 'd', owner: 'bob' }])
  })

  test('what was queued while a session was being forgotten is not for the next owner of its id', async () => {
    const { persistence } = await make()
    await persistence.sessions.put('c', 'ada')
    await persistence.addSubscriptions({ id: 'c' }, [{ topic: 't', qos: 1 }])
    const subscribers = await persistence.subscriptionsByTopic('t')
    await persistence.sessions.forget('ada')
    await persistence.outgoingEnqueueCombi(subscribers, packet('t', 'secret'))
    await persistence.sessions.put('c', 'bob')
    expect(await queue(persistence, 'c')).toEqual([])
  })

  test('that nobody uses are forgotten, and live ones are not', async () => {
    const clock = new FakeClock()
    const clients = { live: {} }
    const { persistence, store } = await make({ clock }, { clients })
    const { sessions } = persistence
    await sessions.put('live', 'ada')
    await sessions.put('idle', 'ada')
    clock.advance(600)
    expect(await sessions.sweep(1000)).toEqual([])
    clock.advance(500)
    expect(await sessions.sweep(1000)).toEqual(['idle'])
    expect(await store.loadSessions()).toMatchObject([{ clientId: 'live', owner: 'ada' }])
    // The live one was noted, so that a crash now does not end it.
    expect(await store.sessionsIdleSince(persistence.running.now() - 500)).toEqual([])
  })

  test('that nobody uses and have much are forgotten in several turns', async () => {
    const clock = new FakeClock()
    const { persistence, store } = await make({ clock }, { clients: {} })
    const { sessions } = persistence
    const many = Array.from({ length: 1500 }, (_, i) => ({ topic: `t/${i}`, qos: 1 as const }))
    for (const clientId of ['a', 'b', 'c', 'd']) {
      await sessions.put(clientId, 'ada')
      await persistence.addSubscriptions({ id: clientId }, many)
    }
    clock.advance(1500)
    expect(await sessions.sweep(1000)).toEqual(['a', 'b'])
    expect(await sessions.sweep(1000)).toEqual(['c', 'd'])
    expect(await sessions.sweep(1000)).toEqual([])
    expect(await store.loadSubscriptions()).toEqual([])
  })

  test('whose subscriptions could not be stored are stored when there is room again', async () => {
    const { persistence, database, store } = await make()
    database.sql.pragma('query_only = ON')
    await expect(persistence.sessions.put('c', 'ada')).rejects.toMatchObject({
      code: 'storage_unavailable',
    })
    const adding = persistence.addSubscriptions({ id: 'c' }, [{ topic: 't', qos: 1 }])
    await expect(adding).rejects.toMatchObject({ code: 'storage_unavailable' })
    database.sql.pragma('query_only = OFF')
    await persistence.sessions.sweep(1e12)
    expect(await store.loadSessions()).toMatchObject([{ clientId: 'c', owner: 'ada' }])
    expect(await store.loadSubscriptions()).toMatchObject([{ clientId: 'c', filter: 't' }])
  })

  test('that could not be forgotten are found by the next try', async () => {
    const { persistence, database, store } = await make()
    await persistence.sessions.put('c', 'ada')
    database.sql.pragma('query_only = ON')
    await expect(persistence.sessions.forget('ada')).rejects.toMatchObject({ code: 'storage_unavailable' })
    database.sql.pragma('query_only = OFF')
    await persistence.sessions.forget('ada')
    expect(await store.loadSessions()).toEqual([])
  })
})

test('a QoS 2 message is refused where the database has no room for it, before anything of it is stored', async () => {
  const { database, persistence, store } = await make()
  const client = { id: 'c1', clean: false }
  database.room.setMaxBytes(1)
  const message = packet('t', 'x'.repeat(1000), { qos: 2, messageId: 7 })
  await expect(persistence.incomingStorePacket(client as never, message)).rejects.toThrow('store.maxBytes')
  expect(await store.countIncoming('c1')).toBe(0)
})
