import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Duplex } from 'node:stream'
import { Aedes } from 'aedes'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AedesClient } from '../../src/broker/aedes-internals.ts'

/** Each private part of Aedes that src/broker relies on. What fails here after an upgrade needs a look there. */

let broker: Aedes
let client: AedesClient
let stream: Duplex

beforeEach(async () => {
  broker = await Aedes.createBroker({ concurrency: 0 })
  stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  client = broker.handle(stream as never) as unknown as AedesClient
})

afterEach(async () => {
  stream.destroy()
  await new Promise<void>((resolve) => broker.close(resolve))
})

test('Aedes is the version that was read', () => {
  const manifest = createRequire(import.meta.url)
    .resolve('aedes')
    .replace(/aedes\.js$/, 'package.json')
  expect(JSON.parse(readFileSync(manifest, 'utf8')).version).toBe('1.2.0')
})

describe('a client of Aedes', () => {
  test('parses by calling `_parser.parse` anew for each chunk', async () => {
    const chunks: string[] = []
    client._parser.parse = (chunk: Buffer) => chunks.push(chunk.toString())
    stream.push('one')
    await new Promise((resolve) => setImmediate(resolve))
    expect(chunks).toEqual(['one'])
  })

  test('has the fields that are read and written', () => {
    expect(client).toMatchObject({
      id: null,
      clean: true,
      closed: false,
      will: null,
      _keepaliveInterval: -1,
      _keepaliveTimer: null,
      deliver0: expect.any(Function),
      deliverQoS: expect.any(Function),
      pause: expect.any(Function),
      waitForDrain: expect.any(Function),
    })
    expect(client.conn).toBe(stream)
    expect(Object.getPrototypeOf(client.subscriptions)).toBe(null)
  })

  test('reads nothing while it is paused', async () => {
    const chunks: Buffer[] = []
    client._parser.parse = (chunk: Buffer) => chunks.push(chunk)
    client.pause()
    stream.push('x')
    await new Promise((resolve) => setImmediate(resolve))
    expect(chunks).toEqual([])
  })

  test('counts in `_parsingBatch` what it has read and not finished: at 0 it would read the next', async () => {
    let during: number | undefined
    Object.assign(broker, {
      preConnect: (inner: AedesClient, _packet: unknown, done: (error: null, ok: boolean) => void) => {
        during = inner._parsingBatch
        done(null, true)
      },
    })
    const ready = new Promise((resolve) => broker.once('clientReady', resolve))
    stream.push(Buffer.from('100d00044d5154540402003c000161', 'hex'))
    await ready
    await new Promise((resolve) => setImmediate(resolve))
    expect(during).toBe(1)
    expect(client._parsingBatch).toBe(0)
  })
})

describe('the broker', () => {
  test('has the fields that are read and written', () => {
    const inner = broker as unknown as Record<string, unknown>
    expect(inner).toMatchObject({ mq: { emit: expect.any(Function) }, counter: expect.any(Number) })
    expect(inner.deleteClient).toEqual(expect.any(Function))
    expect(Object.getPrototypeOf(inner.clients)).toBe(null)
  })

  test('takes its hooks from properties, at each call', async () => {
    const calls: string[] = []
    Object.assign(broker, {
      preConnect: (_client: unknown, packet: { clientId: string }) => {
        calls.push(packet.clientId)
      },
    })
    stream.push(Buffer.from('100d00044d5154540402003c000161', 'hex'))
    await new Promise((resolve) => setImmediate(resolve))
    expect(calls).toEqual(['a'])
  })

  test('hands messages to subscribers in the same turn, with concurrency 0', () => {
    const got: string[] = []
    const inner = broker as unknown as {
      mq: { on(topic: string, notify: (packet: { topic: string }, done: () => void) => void): void }
    }
    inner.mq.on('a/+', (packet, done) => {
      got.push(packet.topic)
      done()
    })
    const { mq } = broker as unknown as { mq: { emit(packet: object): void } }
    mq.emit({ topic: 'a/b' })
    expect(got).toEqual(['a/b'])
  })
})

describe('subscriptions', () => {
  test('are delivered by `deliver0` and `deliverQoS` as they are at SUBSCRIBE', async () => {
    const got: [string, number][] = []
    client.deliver0 = (packet, done) => {
      got.push(['0', packet.brokerCounter])
      done()
    }
    client.deliverQoS = (packet, done) => {
      got.push(['q', packet.brokerCounter])
      done()
    }
    const subscribe = client as unknown as { subscribe(sub: object, done: () => void): void }
    await new Promise<void>((resolve) => subscribe.subscribe({ topic: 'x', qos: 0 }, resolve))
    await new Promise<void>((resolve) => subscribe.subscribe({ topic: '+', qos: 1 }, resolve))
    const { mq } = broker as unknown as { mq: { emit(packet: object): void } }
    mq.emit({ topic: 'x', payload: Buffer.alloc(0), qos: 1, brokerId: 'b', brokerCounter: 42 })
    expect(got.sort()).toEqual([
      ['0', 42],
      ['q', 42],
    ])
    expect(Object.keys(client.subscriptions).sort()).toEqual(['+', 'x'])
  })
})

describe('what MQTT 5 relies on', () => {
  const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

  test('answers are written to `client.conn` as it is then, and SUBACK has the different filters in order', async () => {
    const written: Buffer[] = []
    const real = client.conn
    client.conn = new Proxy(real, {
      get(target, name) {
        if (name === 'write') return (chunk: Buffer) => written.push(Buffer.from(chunk)) > 0
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    const asked: string[] = []
    Object.assign(broker, {
      authorizeSubscribe: (
        _client: unknown,
        sub: { topic: string },
        done: (error: null, granted: object | null) => void,
      ) => {
        asked.push(sub.topic)
        done(null, sub.topic === 'b' ? null : sub)
      },
    })
    const answered = (first: number) =>
      new Promise<void>((resolve) => {
        const look = () => (Buffer.concat(written)[0] === first ? resolve() : setImmediate(look))
        look()
      })
    stream.push(hex('100d00044d5154540402003c000161'))
    await answered(0x20)
    await new Promise((resolve) => setImmediate(resolve))
    written.length = 0
    // Filters b, a, b, c: the second b is the same filter once more.
    client._parser.parse(hex('8212 0007 0001 62 00 0001 61 01 0001 62 01 0001 63 02'))
    expect(asked).toEqual(['b', 'a', 'c'])
    await answered(0x90)
    expect(Buffer.concat(written).toString('hex')).toBe('90050007' + '800102')
  })
})
