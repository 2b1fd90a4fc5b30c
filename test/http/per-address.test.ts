import { EventEmitter } from 'node:events'
import type { Server, Socket } from 'node:net'
import { expect, test } from 'vitest'
import { limitPerAddress } from '../../src/http/per-address.ts'

class Conn extends EventEmitter {
  readonly remoteAddress: string
  destroyed = false

  constructor(remoteAddress: string) {
    super()
    this.remoteAddress = remoteAddress
  }

  destroy(): void {
    this.destroyed = true
    this.emit('close')
  }
}

test('connections of one address are bounded, an IPv6 network being one; loopback is many', () => {
  const server = new EventEmitter()
  const refused: string[] = []
  limitPerAddress(
    server as Server,
    () => 2,
    (address) => refused.push(address),
  )
  const come = (address: string) => {
    const conn = new Conn(address)
    server.emit('connection', conn as unknown as Socket)
    return conn
  }
  const [first] = ['10.0.0.1', '::ffff:10.0.0.1'].map(come)
  expect(come('10.0.0.1').destroyed).toBe(true)
  expect(come('10.0.0.2').destroyed).toBe(false)
  first?.destroy()
  expect(come('10.0.0.1').destroyed).toBe(false)
  expect(['2001:db8::1', '2001:db8::2', '2001:db8::3'].map((each) => come(each).destroyed)).toEqual([
    false,
    false,
    true,
  ])
  expect(Array.from({ length: 9 }, () => come('127.0.0.1')).some(({ destroyed }) => destroyed)).toBe(false)
  expect(refused).toEqual(['10.0.0.1', '2001:db8::3'])
})
