import { describe, expect, test } from 'vitest'
import { type PacketHolder, PacketRoom } from '../../src/broker/packet-room.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { patience } from '../support/patience.ts'
import { type Running, start } from './fixture.ts'
import { PUBACK, publishPacket } from './wire.ts'

describe('the room for large packets that are not whole', () => {
  function room() {
    const clock = new FakeClock()
    const told: string[] = []
    const packets = new PacketRoom({
      clock,
      maxBytesPerIdentity: () => 200,
      maxBytes: () => 300,
      wholeMs: 30_000,
    })
    const holders = new Map<string, PacketHolder>()
    const enter = (name: string, bytes = 100) => {
      const owner = name.replace(/\d+$/, '')
      const holder = {
        owner,
        bytes,
        go: () => told.push(`${name} goes`),
        tooSlow: () => {
          told.push(`${name} was too slow`)
          packets.leave(holder)
        },
      }
      holders.set(name, holder)
      return packets.enter(holder)
    }
    const leave = (name: string) => packets.leave(holders.get(name) as PacketHolder)
    return { clock, told, packets, enter, leave }
  }

  test('has a bound for one identity and one for all, and those that wait go in turns of identities', () => {
    const { told, packets, enter, leave } = room()
    expect(['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'b3'].map((name) => enter(name))).toEqual([
      ...[true, true, false, false],
      ...[true, false, false],
    ])
    expect(packets.bytes).toBe(300)
    leave('b1')
    expect(told).toEqual(['b2 goes'])
    leave('a1')
    leave('a2')
    expect(told).toEqual(['b2 goes', 'a3 goes', 'b3 goes'])
    for (const name of ['a3', 'b2', 'b3', 'a4']) leave(name)
    expect(told.at(-1)).toBe('a4 goes')
    expect(packets.bytes).toBe(0)
  })

  test('takes one packet of each that is larger than its bound, and one that is larger than all', () => {
    const { enter, leave, packets } = room()
    expect(enter('a1', 1000)).toBe(true)
    expect(enter('a2', 1)).toBe(false)
    leave('a1')
    leave('a2')
    expect(packets.bytes).toBe(0)
  })

  test('ends who is not whole in time when others wait for that, and nobody else', () => {
    const { clock, told, enter } = room()
    enter('a1')
    enter('b1')
    clock.advance(60_000)
    expect(told).toEqual([])
    enter('a2')
    enter('a3')
    clock.advance(1000)
    expect(told).toEqual(['a1 was too slow', 'a3 goes'])
    // Nobody waits for what b1 holds.
    clock.advance(1000)
    expect(told).toHaveLength(2)
    enter('c1')
    clock.advance(1000)
    expect(told.slice(2)).toEqual(['b1 was too slow', 'c1 goes'])
  })

  test('is given to as many as find room in it when a large packet is whole', () => {
    const { told, packets, enter, leave } = room()
    enter('a1', 200)
    for (const name of ['a2', 'a3', 'a4', 'b1']) enter(name, 80)
    expect(packets.bytes).toBe(280)
    leave('a1')
    expect(told).toEqual(['a2 goes', 'a3 goes'])
    expect(packets.bytes).toBe(240)
  })

  test('is no more of who waits and goes', () => {
    const { told, enter, leave } = room()
    enter('a1', 200)
    enter('a2')
    enter('a3')
    leave('a2')
    leave('a1')
    expect(told).toEqual(['a3 goes'])
  })
})

describe('sessions that send most of a large packet', () => {
  const BYTES = 1_000_000
  const half = (i: number) =>
    publishPacket('limb/principal/viewer/request/x', Buffer.alloc(BYTES), { qos: 1, id: i + 1 })
  const limits = {
    maxPartialBytesPerIdentity: 4 * BYTES,
    maxPartialBytes: 6 * BYTES,
    maxBytesPerSecond: 100_000_000,
  }

  async function halves(running: Running, count: number) {
    const clients = await Promise.all(
      Array.from({ length: count }, (_, i) => running.connect({ username: 'viewer', clientId: `v${i}` })),
    )
    for (const [i, client] of clients.entries()) client.send(half(i).subarray(0, BYTES - 1000))
    await expect
      .poll(() => running.broker.partialBytes, { timeout: patience(5000) })
      .toBeGreaterThan(3 * BYTES)
    return clients
  }

  test('hold no more than their share, keep nobody else from sending, and are all taken when they go on', async () => {
    const running = await start({ limits })
    const clients = await halves(running, 12)
    const limb = await running.connect({ username: 'cam1', password: 'key' })
    limb.send(publishPacket('limb/node/cam1/data/x', Buffer.alloc(BYTES), { qos: 1, id: 1 }))
    await limb.ack(PUBACK, 1)
    expect(running.broker.partialBytes).toBeLessThanOrEqual(4 * BYTES)
    expect(running.broker.counters.limits.partial).toBeGreaterThan(0)
    for (const [i, client] of clients.entries()) client.send(half(i).subarray(BYTES - 1000))
    await Promise.all(clients.map((client, i) => client.ack(PUBACK, i + 1)))
    expect(running.broker.partialBytes).toBe(0)
  })

  test.each(['reset', 'closed'])(
    'leave nothing behind when they are %s, with room or without',
    async (how) => {
      const running = await start({ limits })
      const clients = await halves(running, 30)
      for (const client of clients) {
        if (how === 'reset') client.cut()
        else client.socket.destroy()
      }
      await expect.poll(() => running.broker.partialBytes, { timeout: patience(5000) }).toBe(0)
      await expect.poll(() => running.broker.counters.sessions.principal, { timeout: patience(5000) }).toBe(0)
    },
  )
})
