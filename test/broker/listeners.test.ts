import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { packetsOf } from '../../src/broker/retained-for.ts'
import { unmappedAddress } from '../../src/kernel/address.ts'
import { LISTEN_BACKLOG } from '../../src/kernel/listening.ts'
import { skipWithout } from '../support/needs.ts'
import { patience } from '../support/patience.ts'
import { start, tempFolder, turn } from './fixture.ts'
import { connectPacket, dial, PUBACK, publishPacket, type WireClient } from './wire.ts'

describe('TCP', () => {
  test('a port in use is said in words that help', async () => {
    const { broker, port } = await start()
    await expect(broker.listenTcp('127.0.0.1', port)).rejects.toThrow(
      `cannot listen on 127.0.0.1:${port}: another program listens there`,
    )
  })

  test('as many wait for a moment as the kernel allows: a fleet comes back at once', async (context) => {
    skipWithout(context, 'ss')
    const { port } = await start()
    const told = spawnSync('ss', ['-ltnH', `sport = :${port}`], { encoding: 'utf8' })
    const most = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'))
    // State, what waits, and how many may.
    expect(Number(told.stdout.trim().split(/\s+/)[2])).toBe(Math.min(most, LISTEN_BACKLOG))
  })

  test('an address that is not this machine’s is said in words that help', async () => {
    const { broker } = await start()
    await expect(broker.listenTcp('192.0.2.1', 0)).rejects.toThrow(/no such address/)
  })

  test('an IPv4 address that came by IPv6 is the IPv4 address', () => {
    expect(unmappedAddress('::ffff:10.1.2.3')).toBe('10.1.2.3')
    expect(unmappedAddress('fe80::1')).toBe('fe80::1')
  })
})

describe('the control socket', () => {
  test('signs in as local admin, has the mode it is given, and its folder is made', async () => {
    const { broker, core } = await start()
    const path = join(tempFolder(), 'run/deep/control.sock')
    await broker.listenUnix(path, 0o600)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const client = await dial({ path })
    client.send(connectPacket())
    expect((await client.connack()).code).toBe(0)
    expect(core.admitted[0]).toMatchObject({ local: true, address: 'local' })
    expect(broker.counters.connections.unix).toBe(1)
    client.send(publishPacket('limb/principal/admin/request/x', Buffer.alloc(3_000_000), { qos: 1, id: 1 }))
    await client.ack(PUBACK, 1)
    client.cut()
  })

  test('takes the place of a socket that nobody listens on', async () => {
    const path = join(tempFolder(), 'control.sock')
    const { spawnSync } = await import('node:child_process')
    const code = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
    spawnSync(process.execPath, ['-e', code])
    expect(existsSync(path)).toBe(true)
    const { broker } = await start()
    await broker.listenUnix(path, 0o660)
    const client = await dial({ path })
    client.send(connectPacket())
    expect((await client.connack()).code).toBe(0)
    client.cut()
  })

  test('never takes the place of one that answers, of a file, or of a folder in a file', async () => {
    const folder = tempFolder()
    const { broker } = await start()
    const busy = join(folder, 'busy.sock')
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(busy, resolve))
    await expect(broker.listenUnix(busy, 0o660)).rejects.toThrow(/another program listens there/)
    server.close()
    const file = join(folder, 'file')
    writeFileSync(file, 'precious')
    await expect(broker.listenUnix(file, 0o660)).rejects.toThrow(/no socket; remove it/)
    await expect(broker.listenUnix(join(file, 'x.sock'), 0o660)).rejects.toThrow(/not a folder/)
    mkdirSync(join(folder, 'dir'))
    await expect(broker.listenUnix(join(folder, 'dir'), 0o660)).rejects.toThrow(/no socket/)
    await expect(broker.listenUnix(join(folder, 'x'.repeat(120)), 0o660)).rejects.toThrow(/at most 107 bytes/)
  })
})

describe('connections are bounded', () => {
  test('in all, and the control socket still gets in', async () => {
    const { broker, connect, port } = await start({ limits: { maxConnections: 2 } })
    await connect()
    await connect()
    const third = await dial({ port })
    await third.closed
    expect(broker.counters.refused.connections).toBe(1)
    const path = join(tempFolder(), 'control.sock')
    await broker.listenUnix(path, 0o660)
    const local = await dial({ path })
    local.send(connectPacket())
    expect((await local.connack()).code).toBe(0)
    local.cut()
  })

  test('per address, except from this machine', async () => {
    const { broker, connect } = await start({ limits: { maxConnectionsPerAddress: 1 } })
    await connect()
    await connect()
    const far = (address: string) => {
      const stream = new PassThrough()
      broker.attach(stream, { address, local: false, transport: 'websocket' })
      return stream
    }
    const streams = [far('10.0.0.1'), far('10.0.0.1'), far('10.0.0.2')]
    expect(streams.map((stream) => stream.destroyed)).toEqual([false, true, false])
    streams[0]?.destroy()
    await turn()
    expect(far('10.0.0.1').destroyed).toBe(false)
  })
})

test('a stream that is gone before it is attached leaves nothing behind', async () => {
  const { broker } = await start()
  const stream = new PassThrough()
  stream.destroy()
  await turn()
  broker.attach(stream, { address: '10.0.0.1', local: false, transport: 'websocket' })
  await turn()
  expect(broker.counters.connections.websocket).toBe(0)
})

describe('stopping', () => {
  test('ends a thousand sessions in time, after the last words of the bridge', async () => {
    const { connect, broker, core, stop } = await start({ limits: { flushTimeoutMs: patience(3000) } })
    const watcher = await connect({ username: 'viewer' })
    await watcher.subscribe({ 'limb/bridge/#': 1 })
    const limbs: WireClient[] = []
    for (let i = 0; i < 1000; i++) limbs.push(await connect({ username: `cam${i}`, password: 'key' }))
    await core.until('opened', () => core.all('opened').length === 1001)
    broker.publisher.publish('limb/bridge/status', Buffer.from('offline'), { qos: 1, retain: true })
    const before = performance.now()
    await broker.stop()
    const took = performance.now() - before
    await Promise.all(limbs.map((limb) => limb.closed))
    await watcher.closed
    expect(watcher.messages.map((message) => message.text)).toEqual(['offline'])
    expect(core.all('closed').filter((event) => event.why === 'stopped')).toHaveLength(1001)
    // Nobody is waited for until the time is up.
    expect(took).toBeLessThan(patience(3000))
    expect(Object.values(broker.counters.connections)).toEqual([0, 0, 0, 0])
    await stop()
  })

  test('lets a reader take what was published before', async () => {
    const { connect, broker } = await start({
      limits: { maxSessionQueueBytes: 50_000_000, flushTimeoutMs: patience(1000) },
    })
    const watcher = await connect({ username: 'viewer' })
    await watcher.subscribe({ 'limb/bridge/#': 1 })
    watcher.socket.pause()
    // More than the kernel takes for a reader that does not read.
    const event = Buffer.alloc(1_000_000)
    for (let i = 0; i < 20; i++) {
      broker.publisher.publish('limb/bridge/event/x', event, { qos: 1, retain: false })
      await turn()
    }
    broker.publisher.publish('limb/bridge/status', Buffer.from('offline'), { qos: 1, retain: true })
    const stopping = broker.stop()
    watcher.socket.resume()
    await stopping
    await watcher.closed
    expect(watcher.messages.at(-1)?.text).toBe('offline')
  })

  test('publishes no wills, and waits for no reader', async () => {
    const grants = [{ to: 'viewer', publish: ['out/#'], subscribe: ['out/#'] }]
    const { connect, broker, persistence } = await start({ grants, limits: { flushTimeoutMs: 300 } })
    const frozen = await connect({
      username: 'viewer2',
      will: { topic: 'out/will', payload: 'x', retain: true },
    })
    await frozen.subscribe({ 'limb/bridge/#': 0 })
    frozen.socket.pause()
    for (let i = 0; i < 100; i++) {
      broker.publisher.publish('limb/bridge/event/x', Buffer.alloc(100_000), { qos: 0, retain: false })
      await turn()
    }
    const before = performance.now()
    await broker.stop()
    // The reader never reads.
    expect(performance.now() - before).toBeLessThan(patience(3000))
    for await (const portion of persistence.retained(['out/#']))
      expect([...(await packetsOf(portion))]).toEqual([])
    frozen.socket.resume()
  })

  test('refuses new connections', async () => {
    const { broker, port } = await start()
    await broker.stop()
    const client = await dial({ port })
    await client.closed
    const stream = new PassThrough()
    broker.attach(stream, { address: '10.0.0.1', local: false, transport: 'websocket' })
    expect(stream.destroyed).toBe(true)
  })
})
