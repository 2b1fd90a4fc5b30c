import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkFrame } from '../../src/broker/frame-checks.ts'
import { type Frame, FrameSplitter, type Verdict } from '../../src/broker/frame-splitter.ts'
import { PublishFrame } from '../../src/broker/publish-frame.ts'
import { isText, isTopicName } from '../../src/broker/strings.ts'
import { isFilter } from '../../src/protocol/filters.ts'
import {
  connectPacket,
  DISCONNECT,
  id,
  messageOf,
  PINGREQ,
  packet,
  publishPacket,
  subscribePacket,
  text,
  unsubscribePacket,
} from './wire.ts'

function fault(bytes: Buffer): string | undefined {
  let body = 1
  while ((bytes[body] ?? 0) >= 0x80) body++
  return checkFrame(bytes, 0, body + 1, bytes.length, 300)
}

const good: [string, Buffer][] = [
  ['CONNECT', connectPacket()],
  [
    'CONNECT with everything',
    connectPacket({ username: 'ä', password: 'x', will: { topic: 'a/b', payload: '' } }),
  ],
  ['CONNECT of MQTT 3.1', connectPacket({ protocol: 'MQIsdp', level: 3 })],
  ['CONNECT of a bridge', connectPacket({ level: 0x84 })],
  ['PUBLISH', publishPacket('a/b', 'x')],
  ['PUBLISH with a topic beyond ASCII', publishPacket('a/ü€😀', 'x')],
  ['PUBLISH with U+FFFD', publishPacket('a/\ufffd', 'x')],
  ['PUBLISH with DUP', publishPacket('a', 'x', { qos: 1, dup: true })],
  ['PUBACK', packet(0x40, id(1))],
  ['PUBREL', packet(0x62, id(1))],
  ['SUBSCRIBE', subscribePacket({ 'a/+/#': 2, '#': 0, '+': 1, '/': 0 })],
  ['UNSUBSCRIBE', unsubscribePacket(['a/#', 'b'])],
  ['PINGREQ', PINGREQ],
  ['DISCONNECT', DISCONNECT],
]

const bad: [string, Buffer][] = [
  ['type 0', packet(0x00)],
  ['CONNACK', packet(0x20, Buffer.from([0, 0]))],
  ['SUBACK', packet(0x90, id(1), Buffer.from([0]))],
  ['type 15', packet(0xf0)],
  ['PUBLISH with QoS 3', packet(0x36, text('a'), id(1))],
  ['PUBLISH with DUP at QoS 0', publishPacket('a', '', { dup: true })],
  ['PUBLISH without topic', publishPacket('', 'x')],
  ['PUBLISH with packet identifier 0', publishPacket('a', 'x', { qos: 1, id: 0 })],
  ['PUBLISH shorter than its topic', packet(0x30, Buffer.from([0, 9, 0x61]))],
  ['PUBLISH without packet identifier', packet(0x32, text('a'))],
  ['empty PUBLISH', packet(0x30)],
  ['PUBLISH to a wildcard', publishPacket('a/#')],
  ['PUBLISH to a wildcard among others', publishPacket('ü/+')],
  ['PUBLISH to a long topic', publishPacket('a'.repeat(301))],
  ['SUBSCRIBE to a long filter', subscribePacket({ ['a'.repeat(301)]: 0 })],
  ['PUBLISH with NUL', publishPacket('a\0b')],
  ['PUBLISH with a control character', publishPacket('a\u0007b')],
  ['PUBLISH with a C1 control character', publishPacket('a\u0085b')],
  ['PUBLISH with a non-character', publishPacket('a\uffff')],
  ['PUBLISH with invalid UTF-8', publishPacket(Buffer.from([0x61, 0xff]))],
  ['PUBLISH with a surrogate', publishPacket(Buffer.from([0xed, 0xa0, 0x80]))],
  ['PUBLISH with an overlong slash', publishPacket(Buffer.from([0xc0, 0xaf]))],
  ['PUBACK with packet identifier 0', packet(0x40, id(0))],
  ['PUBACK with flags', packet(0x41, id(1))],
  ['PUBACK that is too long', packet(0x40, id(1), Buffer.from([0]))],
  ['PUBREL without its flags', packet(0x60, id(1))],
  ['SUBSCRIBE without its flags', packet(0x80, id(1), text('a'), Buffer.from([0]))],
  ['SUBSCRIBE with packet identifier 0', subscribePacket({ a: 0 }, 0)],
  ['SUBSCRIBE without filter', packet(0x82, id(1))],
  ['SUBSCRIBE without QoS', packet(0x82, id(1), text('ab'))],
  ['SUBSCRIBE with QoS 3', subscribePacket({ a: 3 })],
  ['SUBSCRIBE with an empty filter', subscribePacket({ '': 0 })],
  ['SUBSCRIBE with a+', subscribePacket({ 'a+': 0 })],
  ['SUBSCRIBE with ab/+e', subscribePacket({ 'ab/+e': 0 })],
  ['SUBSCRIBE with a#', subscribePacket({ 'a#': 0 })],
  ['SUBSCRIBE with #/a', subscribePacket({ '#/a': 0 })],
  ['SUBSCRIBE with a bad second filter', subscribePacket({ a: 0, 'b\0': 0 })],
  ['SUBSCRIBE with half a filter', packet(0x82, id(1), text('a'), Buffer.from([0, 0, 5, 0x61]))],
  ['UNSUBSCRIBE without filter', packet(0xa2, id(1))],
  ['UNSUBSCRIBE with a#', unsubscribePacket(['a#'])],
  ['PINGREQ with a body', packet(0xc0, Buffer.from([0]))],
  ['DISCONNECT with flags', packet(0xe1)],
  ['CONNECT with flags', Buffer.concat([Buffer.from([0x11]), connectPacket().subarray(1)])],
  ['CONNECT of another protocol', connectPacket({ protocol: 'HTTP' })],
  ['CONNECT of a later version', connectPacket({ level: 5 })],
  ['CONNECT with NUL in the client id', connectPacket({ clientId: 'a\0' })],
  ['CONNECT with a control character in the user name', connectPacket({ username: 'a\n' })],
  ['CONNECT with NUL in the will topic', connectPacket({ will: { topic: 'a\0', payload: '' } })],
  ['CONNECT with a password but no user name', connectPacket({ password: 'x' })],
  ['CONNECT that is cut', packet(0x10, text('MQTT'), Buffer.from([4, 2]))],
  ['CONNECT with a tail', packet(0x10, connectPacket().subarray(2), Buffer.from([0]))],
  ['CONNECT with a reserved flag', packet(0x10, text('MQTT'), Buffer.from([4, 3]), id(0), text('a'))],
  ['CONNECT with will flags only', packet(0x10, text('MQTT'), Buffer.from([4, 0x22]), id(0), text('a'))],
  [
    'CONNECT with will QoS 3',
    packet(0x10, text('MQTT'), Buffer.from([4, 0x1e]), id(0), text('a'), text('t'), text('')),
  ],
]

describe('packets that MQTT 3.1.1 allows pass', () => {
  test.each(good)('%s', (_, bytes) => expect(fault(bytes)).toBeUndefined())
})

describe('packets that MQTT 3.1.1 forbids are faults', () => {
  test.each(bad)('%s', (_, bytes) => expect(fault(bytes)).toEqual(expect.any(String)))
})

test('no bytes make a check throw, and no check looks beyond the packet', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 60 }), (first, body) => {
      const bytes = Buffer.concat([Buffer.from([first]), body, Buffer.alloc(70, 0x2b)])
      checkFrame(bytes, 0, 1, 1 + body.length, 300)
    }),
    { numRuns: 2000 },
  )
})

test('the quick checks of text agree with a plain description of it', () => {
  const unwanted = /[\p{Cc}\p{Noncharacter_Code_Point}]/u
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 12 }), (value) => {
      const bytes = Buffer.from(value)
      const fine = !unwanted.test(value)
      expect(isText(bytes, 0, bytes.length)).toBe(fine)
      expect(isTopicName(bytes, 0, bytes.length)).toBe(fine && value !== '' && !/[+#]/.test(value))
    }),
    { numRuns: 2000 },
  )
})

test('a filter is well formed when wildcards stand alone', () => {
  for (const filter of ['#', '+', 'a/#', '+/+', '/', 'a//b', '/#']) expect(isFilter(filter)).toBe(true)
  for (const filter of ['', 'a#', '#a', '#/', 'a+', '+a', '++', 'a/#/b', 'a\u0000'])
    expect(isFilter(filter)).toBe(false)
})

/** Keeps each packet where it stands, and holds the stream back after it when `hold` says so. */
class Collector extends FrameSplitter {
  readonly packets: Buffer[] = []
  readonly skips: (readonly [number, number])[] = []
  maxBytes = Number.POSITIVE_INFINITY
  readonly #hold: boolean

  constructor(hold = false) {
    super()
    this.#hold = hold
  }

  protected announced(_first: number, bytes: number): string | undefined {
    return bytes > this.maxBytes ? 'too large' : undefined
  }

  protected readsOver(): boolean {
    return true
  }

  protected skipping(): void {}

  protected skippedPiece(): void {}

  protected skipped(head: Buffer, bytes: number): void {
    this.skips.push([head.length, bytes])
  }

  protected take({ bytes, start, end }: Frame): Verdict {
    this.packets.push(bytes.subarray(start, end))
    return this.#hold ? 'hold' : 'parse'
  }

  protected parse(): void {
    if (this.#hold) queueMicrotask(() => this.resume())
  }

  protected mayCollect(_bytes: number): boolean {
    return true
  }

  protected collected(): void {}

  malformed(): void {
    this.stop()
  }
}

/** Feeds a chunk that is written over where the splitter says that it keeps nothing of it. */
function lend(splitter: FrameSplitter, bytes: Buffer): boolean {
  const chunk = Buffer.from(bytes)
  const isLent = splitter.copies(chunk.length)
  splitter.feed(chunk)
  if (isLent) chunk.fill(0xff)
  return isLent
}

/** Feeds `bytes` in pieces and gives what came out. */
function split(bytes: Buffer, cuts: number[], hold = false): Buffer[] {
  const splitter = new Collector(hold)
  let at = 0
  for (const cut of [...new Set(cuts.map((each) => each % (bytes.length + 1)))].sort((a, b) => a - b)) {
    lend(splitter, bytes.subarray(at, cut))
    at = cut
  }
  lend(splitter, bytes.subarray(at))
  return splitter.packets
}

const somePackets = fc.array(
  fc.oneof(
    fc.integer({ min: 0, max: 300 }).map((size) => publishPacket('a/b', Buffer.alloc(size, 1))),
    fc.constant(PINGREQ),
    fc.constant(publishPacket('big', Buffer.alloc(20_000, 2))),
  ),
  { minLength: 1, maxLength: 6 },
)

test('packets are the same however the stream is cut', () => {
  fc.assert(
    fc.property(somePackets, fc.array(fc.nat(), { maxLength: 30 }), (packets, cuts) => {
      expect(split(Buffer.concat(packets), cuts)).toEqual(packets)
    }),
  )
})

test('a packet that is read over is counted whole, and its neighbours are the same, however the stream is cut', () => {
  fc.assert(
    fc.property(somePackets, fc.array(fc.nat(), { maxLength: 30 }), (packets, cuts) => {
      const splitter = new Collector()
      splitter.maxBytes = 200
      const bytes = Buffer.concat(packets)
      let at = 0
      for (const cut of [...new Set(cuts.map((each) => each % (bytes.length + 1)))].sort((a, b) => a - b)) {
        lend(splitter, bytes.subarray(at, cut))
        at = cut
      }
      lend(splitter, bytes.subarray(at))
      const [large, small] = [
        packets.filter(({ length }) => length > 200),
        packets.filter(({ length }) => length <= 200),
      ]
      expect(splitter.packets).toEqual(small)
      expect(splitter.skips).toEqual(large.map(({ length }) => [length, length]))
    }),
  )
})

test('packets are the same when each is held back for a moment', async () => {
  await fc.assert(
    fc.asyncProperty(somePackets, fc.array(fc.nat(), { maxLength: 10 }), async (packets, cuts) => {
      const found = split(Buffer.concat(packets), cuts, true)
      while (found.length < packets.length) await Promise.resolve()
      expect(found).toEqual(packets)
    }),
    { numRuns: 50 },
  )
})

test('a large packet that arrives byte by byte costs no more than its size', () => {
  const bytes = publishPacket('a', Buffer.alloc(200_000, 3))
  const splitter = new Collector()
  for (const byte of bytes) splitter.feed(Buffer.from([byte]))
  expect(splitter.packets.map((packet) => packet.length)).toEqual([bytes.length])
})

test('chunks within a large packet are not kept, nor those of one that is read over', () => {
  const bytes = publishPacket('a', Buffer.alloc(200_000, 3))
  const pieces = [0, 50_000, 100_000, 150_000].map((at) => bytes.subarray(at, at + 50_000))
  const rest = bytes.subarray(200_000)
  for (const maxBytes of [Number.POSITIVE_INFINITY, 1000]) {
    const splitter = new Collector()
    splitter.maxBytes = maxBytes
    expect([...pieces, rest].map((piece) => lend(splitter, piece))).toEqual([false, true, true, true, true])
    expect(splitter.packets.length + splitter.skips.length).toBe(1)
  }
})

test('a chunk that waits is kept', () => {
  const bytes = publishPacket('a', Buffer.alloc(100_000, 3))
  const splitter = new Collector()
  lend(splitter, bytes.subarray(0, 50_000))
  splitter.pause()
  expect(lend(splitter, bytes.subarray(50_000))).toBe(false)
  splitter.resume()
  expect(splitter.packets).toEqual([bytes])
})

test('a published frame says what it was made of, at every size and QoS', () => {
  fc.assert(
    fc.property(
      fc.string({ minLength: 1, maxLength: 40 }),
      fc.constantFrom(0, 1, 126, 127, 128, 4000, 4096, 4097, 16_384, 70_000),
      fc.constantFrom(0 as const, 1 as const, 2 as const),
      fc.boolean(),
      fc.integer({ min: 1, max: 65_535 }),
      (topic, size, qos, retain, messageId) => {
        const payload = Buffer.alloc(size, 0x61)
        const written: Uint8Array[] = []
        const stream = { cork() {}, uncork() {}, write: (bytes: Uint8Array) => written.push(bytes) > 0 }
        const frame = new PublishFrame(topic, payload, qos, retain)
        frame.writeTo(stream as never, messageId)
        const bytes = Buffer.concat(written)
        expect(frame.bytes).toBe(bytes.length)
        expect(fault(bytes) === undefined || /[+#\p{Cc}]/u.test(topic)).toBe(true)
        const [only] = split(bytes, [])
        expect(only).toEqual(bytes)
        let body = 1
        while ((bytes[body] ?? 0) >= 0x80) body++
        const message = messageOf({ type: 3, flags: (bytes[0] ?? 0) & 15, body: bytes.subarray(body + 1) })
        expect(message).toEqual({
          topic,
          text: payload.toString(),
          qos,
          retain,
          dup: false,
          id: qos > 0 ? messageId : 0,
        })
      },
    ),
  )
})
