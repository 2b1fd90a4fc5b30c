import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { acknowledgement5, connack5, disconnect5, listAnswer5 } from '../../../src/broker/mqtt5/answers.ts'
import { readConnect } from '../../../src/broker/mqtt5/connect.ts'
import {
  isFault,
  readAcknowledgement,
  readDisconnect,
  readPublish,
  readSubscribe,
  readUnsubscribe,
} from '../../../src/broker/mqtt5/frame.ts'
import { IN, PropertyWriter, readProperties, varintBytes } from '../../../src/broker/mqtt5/properties.ts'
import { Reader } from '../../../src/broker/mqtt5/reader.ts'
import { REASON } from '../../../src/broker/mqtt5/reasons.ts'

function read(packet: number, bytes: Buffer) {
  const reader = new Reader(bytes, 0, bytes.length)
  const properties = readProperties(reader, packet)
  return { properties, code: reader.fault?.code, text: reader.fault?.text }
}

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('properties', () => {
  test('are read with their values, and user properties are counted', () => {
    const bytes = new PropertyWriter()
      .byte(0x01, 1)
      .uint32(0x02, 300)
      .text(0x03, 'application/json')
      .text(0x08, 'a/b')
      .binary(0x09, Buffer.from([0, 255]))
      .raw(hex('26 0001 61 0001 62'))
      .raw(hex('26 0001 61 0001 63'))
      .bytes()
    const { properties, code } = read(IN.publish, bytes)
    expect(code).toBe(undefined)
    expect(properties).toMatchObject({
      payloadFormat: 1,
      messageExpiry: 300,
      contentType: 'application/json',
      responseTopic: 'a/b',
      correlationData: Buffer.from([0, 255]),
      userProperties: 2,
    })
  })

  test('that go on to subscribers keep their order and bytes; expiry and alias stay behind', () => {
    const bytes = new PropertyWriter()
      .raw(hex('26 0001 7a 0001 31'))
      .uint32(0x02, 9)
      .text(0x03, 't')
      .uint16(0x23, 4)
      .raw(hex('26 0001 61 0001 32'))
      .bytes()
    expect(read(IN.publish, bytes).properties.forwarded.toString('hex')).toBe(
      '2600017a000131' + '03000174' + '26000161000132',
    )
  })

  test.each([
    ['a value that is cut short', IN.connect, '01 11', REASON.malformedPacket],
    ['an identifier that does not exist', IN.connect, '02 04 01', REASON.malformedPacket],
    ['an identifier longer than it need be', IN.connect, '03 91 00 01', REASON.malformedPacket],
    ['a length beyond the packet', IN.connect, '7f 11', REASON.malformedPacket],
    ['a text that is no UTF-8', IN.publish, '04 03 0001 ff', REASON.malformedPacket],
    ['a property of another packet', IN.connect, '02 01 01', REASON.protocolError],
    ['a property of a server', IN.publish, '03 13 0001', REASON.protocolError],
    ['a subscription identifier in PUBLISH', IN.publish, '02 0b 01', REASON.protocolError],
    ['a property that stands twice', IN.connect, '06 21 0001 21 0001', REASON.protocolError],
    ['receive maximum 0', IN.connect, '03 21 0000', REASON.protocolError],
    ['maximum packet size 0', IN.connect, '05 27 00000000', REASON.protocolError],
    ['payload format 2', IN.publish, '02 01 02', REASON.protocolError],
    ['subscription identifier 0', IN.subscribe, '02 0b 00', REASON.protocolError],
    ['topic alias 0', IN.publish, '03 23 0000', REASON.invalidTopicAlias],
  ])('with %s are refused', (_what, packet, bytes, code) => {
    expect(read(packet, hex(bytes)).code).toBe(code)
  })
})

describe('CONNECT', () => {
  const connect = (bytes: string) => {
    const buffer = hex(bytes)
    return readConnect(buffer, 0, 2, buffer.length)
  }

  test('becomes one of MQTT 3.1.1 without properties and will', () => {
    // Clean start, will at QoS 1 with a delay of 5 s, user name, password, session expiry 10 s.
    const read = connect(
      '10 2f 0004 4d515454 05 ce 003c 05 11 0000000a 0003 646576 05 18 00000005 0001 77 0002 6279 0001 75 0002 7077',
    )
    expect(read).toMatchObject({
      cleanStart: true,
      sessionExpirySeconds: 10,
      receiveMaximum: 65_535,
      will: { topic: 'w', qos: 1, retain: false, delaySeconds: 5 },
    })
    if (isFault(read)) return
    expect(read.packet.toString('hex')).toBe(
      '10160004' + '4d515454' + '04' + 'c2' + '003c' + '0003646576' + '000175' + '00027077',
    )
  })

  test.each([
    [
      'with a client id that is no text',
      '10 0f 0004 4d515454 05 02 003c 00 0002 ff00',
      REASON.invalidClientId,
    ],
    ['with bytes after its end', '10 10 0004 4d515454 05 02 003c 00 0001 61 0001 62', REASON.malformedPacket],
    ['with will flags and no will', '10 0e 0004 4d515454 05 0a 003c 00 0001 61', REASON.malformedPacket],
    ['with a will that ends early', '10 0e 0004 4d515454 05 06 003c 00 0001 61', REASON.malformedPacket],
    [
      'with authentication data alone',
      '10 12 0004 4d515454 05 02 003c 04 16 0001 61 0001 61',
      REASON.protocolError,
    ],
    // A session expiry that stands twice, and a response topic cut short: each ended Aedes 2.0.0-beta.1.
    [
      'with session expiry twice',
      '10 18 0004 4d515454 05 02 000a 0a 11 00000011 11 00000001 0001 70',
      REASON.protocolError,
    ],
  ])('%s is refused', (_what, bytes, code) => {
    expect(connect(bytes)).toMatchObject({ code })
  })
})

describe('PUBLISH', () => {
  const publish = (bytes: string) => {
    const buffer = hex(bytes)
    return readPublish(buffer[0] as number, buffer, 2, buffer.length, 1024)
  }

  test('is read with topic, identifier, properties and payload', () => {
    expect(publish('33 0d 0001 74 0007 04 03 0001 6a 6869')).toMatchObject({
      topic: 't',
      qos: 1,
      retain: true,
      id: 7,
      properties: { contentType: 'j' },
      payload: Buffer.from('hi'),
    })
  })

  test.each([
    ['with neither topic nor alias', '30 03 0000 00', REASON.protocolError],
    ['with a response topic cut short', '30 05 0001 74 01 08', REASON.malformedPacket],
    ['with a wildcard in the response topic', '30 08 0001 74 04 08 0001 2b', REASON.protocolError],
    ['with identifier 0', '32 06 0001 74 0000 00', REASON.malformedPacket],
    ['with a wildcard in the topic', '30 04 0001 23 00', REASON.malformedPacket],
    ['with QoS 3', '36 06 0001 74 0001 00', REASON.malformedPacket],
  ])('%s is refused', (_what, bytes, code) => {
    expect(publish(bytes)).toMatchObject({ code })
  })
})

describe('SUBSCRIBE', () => {
  const subscribe = (bytes: string) => {
    const buffer = hex(bytes)
    return readSubscribe(buffer[0] as number, buffer, 2, buffer.length, 1024)
  }

  test('is read with its identifier and the options of each filter', () => {
    expect(subscribe('82 0d 0001 02 0b 07 0001 61 2d 0001 62 02')).toEqual({
      id: 1,
      identifier: 7,
      filters: [
        { filter: 'a', qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 2 },
        { filter: 'b', qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 },
      ],
    })
  })

  test.each([
    ['without a filter', '82 03 0001 00', REASON.protocolError],
    ['with reserved options', '82 07 0001 00 0001 61 40', REASON.malformedPacket],
    ['with retain handling 3', '82 07 0001 00 0001 61 30', REASON.protocolError],
    ['with QoS 3', '82 07 0001 00 0001 61 03', REASON.protocolError],
    ['with no local on a shared one', '82 10 0001 00 000a 24736861 72652f67 2f74 05', REASON.protocolError],
  ])('%s is refused', (_what, bytes, code) => {
    expect(subscribe(bytes)).toMatchObject({ code })
  })
})

test('what the bridge answers is as short as it may be, and has its reason otherwise', () => {
  expect(acknowledgement5(0x40, 7, 0).toString('hex')).toBe('40020007')
  expect(acknowledgement5(0x40, 7, 0x10).toString('hex')).toBe('4003000710')
  expect(acknowledgement5(0x50, 7, 0x87, 'no').toString('hex')).toBe('5009000787051f00026e6f')
  expect(listAnswer5(0x90, 1, [0, 0x87]).toString('hex')).toBe('90050001000087')
  expect(disconnect5(0x8e).toString('hex')).toBe('e0018e')
  expect(connack5(true, 0, { receiveMaximum: 10 }).toString('hex')).toBe('200601000321000a')
})

test('a number is written in its shortest form and read back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 268_435_455 }), (value) => {
      const bytes = Buffer.from(varintBytes(value))
      const reader = new Reader(bytes, 0, bytes.length)
      expect([reader.varint(), reader.left, reader.fault]).toEqual([value, 0, undefined])
    }),
  )
})

test('whatever bytes come, each reader ends with a packet or a fault', () => {
  const readers = [
    (bytes: Buffer) => readConnect(bytes, 0, 1, bytes.length),
    (bytes: Buffer) => readPublish(bytes[0] as number, bytes, 1, bytes.length, 64),
    (bytes: Buffer) => readAcknowledgement(bytes[0] as number, bytes, 1, bytes.length),
    (bytes: Buffer) => readSubscribe(bytes[0] as number, bytes, 1, bytes.length, 64),
    (bytes: Buffer) => readUnsubscribe(bytes[0] as number, bytes, 1, bytes.length, 64),
    (bytes: Buffer) => readDisconnect(bytes[0] as number, bytes, 1, bytes.length),
  ]
  const properties = fc
    .array(fc.constantFrom(...hex('00010203080911151f21222326270b05')), { maxLength: 40 })
    .map((bytes) => Buffer.from(bytes))
  const anything = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 80 }).map((bytes) => Buffer.from(bytes)),
    properties.map((bytes) => Buffer.concat([hex('32 0001 74 0001'), Buffer.from([bytes.length]), bytes])),
    properties.map((bytes) =>
      Buffer.concat([hex('10 0004 4d515454 05 02 003c'), Buffer.from([bytes.length]), bytes, hex('0001 61')]),
    ),
  )
  fc.assert(
    fc.property(anything, (bytes) => {
      for (const reader of readers) {
        const read = reader(bytes)
        if (isFault(read)) expect(read.code).toBeGreaterThanOrEqual(0x80)
      }
    }),
    { numRuns: 2000 },
  )
})

test('user properties that are sent arrive as the same bytes, whatever stands between them', () => {
  const pair = fc.tuple(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }))
  fc.assert(
    fc.property(
      fc.array(pair, { maxLength: 10 }),
      fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      (pairs, expiry) => {
        const users = pairs.map(([name, value]) => {
          const both = new PropertyWriter().text(0x26, name).bytes().subarray(1)
          return Buffer.concat([both, new PropertyWriter().text(0, value).bytes().subarray(2)])
        })
        const writer = new PropertyWriter().uint32(0x02, expiry)
        for (const user of users) writer.raw(user)
        const { properties, code } = read(IN.publish, writer.bytes())
        expect(code).toBe(undefined)
        expect(properties.userProperties).toBe(pairs.length)
        expect(properties.messageExpiry).toBe(expiry)
        expect(properties.forwarded).toEqual(Buffer.concat(users))
      },
    ),
  )
})
