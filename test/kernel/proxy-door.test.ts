import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { ProxyDoor } from '../../src/kernel/proxy-door.ts'
import { FakeClock } from '../support/fake-clock.ts'

function arriving(remoteAddress: string): Socket {
  return Object.assign(new PassThrough(), { remoteAddress }) as unknown as Socket
}

test('a thousand connections of proxies may owe their header, and the next one is closed', () => {
  const refused: string[] = []
  const door = new ProxyDoor({
    networks: ['10.0.0.1'],
    clock: new FakeClock(),
    refused: (_address, fault) => refused.push(fault),
  })
  const opened: Socket[] = []
  const enter = (address = '10.0.0.1') => {
    const socket = arriving(address)
    door.enter(socket, () => opened.push(socket))
    return socket
  }
  const first = enter()
  for (let i = 1; i < 1000; i++) enter()
  expect(refused).toEqual([])
  expect(enter().destroyed).toBe(true)
  expect(refused).toEqual(['has more than 1000 connections without a header'])
  // Who comes by no proxy is none of them.
  enter('192.0.2.1')
  expect(opened).toHaveLength(1)
  first.destroy()
  door.close()
})
