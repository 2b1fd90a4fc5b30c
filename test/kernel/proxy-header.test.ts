import { describe, expect, it } from 'vitest'
import { proxyHeaderVersion, readProxyHeader } from '../../src/kernel/proxy-header.ts'
import { version2 } from '../support/proxy.ts'

const line = (text: string) => Buffer.from(`${text}\r\nrest`, 'latin1')

describe('a header of the PROXY protocol', () => {
  it.each([
    ['version 1, IPv4', line('PROXY TCP4 192.0.2.7 10.0.0.1 56324 1883'), '192.0.2.7'],
    ['version 1, IPv6', line('PROXY TCP6 2001:db8::7 2001:db8::1 56324 1883'), '2001:db8::7'],
    ['version 1, IPv6 written at length', line('PROXY TCP6 2001:0DB8:0::07 ::1 1 2'), '2001:db8::7'],
    ['version 1, IPv4 written as IPv6', line('PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2'), '192.0.2.7'],
    ['version 1, unknown', line('PROXY UNKNOWN'), undefined],
    ['version 1, unknown with addresses', line('PROXY UNKNOWN ffff::1 ffff::2 65535 65535'), undefined],
    ['version 2, IPv4', version2({ source: '192.0.2.7' }), '192.0.2.7'],
    ['version 2, IPv6', version2({ source: '2001:db8:0:0:1:0:0:7' }), '2001:db8::1:0:0:7'],
    ['version 2, IPv4 written as IPv6', version2({ source: '::ffff:192.0.2.7' }), '192.0.2.7'],
    ['version 2, with more than addresses', version2({ source: '192.0.2.7', extra: 300 }), '192.0.2.7'],
    ['version 2, local', version2({ source: '192.0.2.7', command: 0 }), undefined],
    ['version 2, unspecified', version2({ family: 0, body: Buffer.alloc(0) }), undefined],
    ['version 2, a Unix socket', version2({ family: 0x31, body: Buffer.alloc(216) }), undefined],
  ])('gives the address of the client and its own length (%s)', (_which, bytes, address) => {
    const whole = bytes.at(0) === 0x50 ? bytes.indexOf('\r\n') + 2 : bytes.length
    expect(readProxyHeader(Buffer.concat([bytes, Buffer.from('rest')]))).toEqual({ address, bytes: whole })
    for (let length = 0; length < whole; length++) {
      expect(readProxyHeader(bytes.subarray(0, length))).toBe('more')
    }
  })

  it.each([
    ['a CONNECT', Buffer.from([0x10, 0x0c, 0, 4, 0x4d, 0x51, 0x54, 0x54])],
    ['a TLS handshake', Buffer.from([0x16, 3, 1, 2, 0])],
    ['a request of HTTP', Buffer.from('GET / HTTP/1.1\r\n')],
    ['an address that is none', line('PROXY TCP4 192.0.2.700 10.0.0.1 1 2')],
    ['an address of the other family', line('PROXY TCP4 2001:db8::7 ::1 1 2')],
    ['a port that is none', line('PROXY TCP4 192.0.2.7 10.0.0.1 1 65536')],
    ['a field too many', line('PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3')],
    ['a kind that is none', line('PROXY UDP4 192.0.2.7 10.0.0.1 1 2')],
    ['a line without an end', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(200)}`)],
    ['a version that is none', version2({ source: '192.0.2.7', version: 3 })],
    ['a command that is none', version2({ source: '192.0.2.7', command: 7 })],
    ['datagrams', version2({ source: '192.0.2.7', family: 0x12 })],
    ['too few bytes for its addresses', version2({ family: 0x21, body: Buffer.alloc(12) })],
    ['a length without bound', version2({ source: '192.0.2.7', extra: 60_000 }).subarray(0, 16)],
  ])('is refused with the reason (%s)', (_which, bytes) => {
    expect(readProxyHeader(bytes)).toEqual({ fault: expect.stringMatching(/^sends /) })
  })

  it('is known by its first bytes', () => {
    expect(proxyHeaderVersion(line('PROXY UNKNOWN'))).toBe(1)
    expect(proxyHeaderVersion(version2({ source: '192.0.2.7' }))).toBe(2)
    expect(proxyHeaderVersion(Buffer.from('PROX'))).toBeUndefined()
  })
})
