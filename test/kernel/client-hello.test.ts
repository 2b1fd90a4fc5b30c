import { expect, test } from 'vitest'
import { FirstMessage } from '../../src/kernel/client-hello.ts'
import { clientHello } from '../support/client-hello.ts'

const HEAD_BYTES = 5

const helloIn = (bytes: Buffer) => new FirstMessage().look(bytes)

/** Cuts the one record of a message into records of so many bytes. */
function inRecordsOf(bytes: number, hello: Buffer): Buffer {
  const message = hello.subarray(HEAD_BYTES)
  const records = []
  for (let at = 0; at < message.length; at += bytes) {
    const part = message.subarray(at, at + bytes)
    records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part)
  }
  return Buffer.concat(records)
}

test.each([16_384, 100, 3, 1])(
  'a first message in records of %d bytes is whole with its last byte',
  async (bytes) => {
    const hello = inRecordsOf(bytes, await clientHello())
    expect(helloIn(hello)).toBe('whole')
    expect(helloIn(Buffer.concat([hello, Buffer.from('more')]))).toBe('whole')
  },
)

test.each([16_384, 100, 3, 1])(
  'a first message in records of %d bytes that comes byte by byte is whole with its last one, and no record is looked at twice',
  async (bytes) => {
    const hello = inRecordsOf(bytes, await clientHello())
    const first = new FirstMessage()
    for (let sent = 0; sent < hello.length; sent++) {
      expect(first.look(hello.subarray(0, sent))).toBe('more')
      // A record that was whole before: looked at again, it is no record any more.
      if (sent > 2 * (HEAD_BYTES + bytes)) hello.fill(0, 0, HEAD_BYTES + bytes)
    }
    expect(first.look(hello)).toBe('whole')
  },
)

test.each([
  ['HTTP', Buffer.from('GET / HTTP/1.1')],
  ['MQTT', Buffer.from([0x10, 12, 0, 4])],
  ['a record of another kind', Buffer.from([23, 3, 3, 0, 5])],
  ['another message of a handshake', Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])],
  ['an empty record', Buffer.from([22, 3, 1, 0, 0])],
  ['a record that is too long', Buffer.from([22, 3, 1, 0x7f, 0xff])],
  ['a record of a version that never was', Buffer.from([22, 2])],
])('%s is no first message', (_name, bytes) => {
  expect(helloIn(bytes)).toBe('other')
})
