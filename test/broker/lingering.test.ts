import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, connect as dialTcp, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as dialTls } from 'node:tls'
import { describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { Lingering } from '../../src/broker/lingering.ts'
import { BASE_BYTES, type Stranger, Strangers } from '../../src/broker/strangers.ts'
import { startHttpWith } from '../http/http-server.ts'
import { authority } from '../support/certificates.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { lacking } from '../support/needs.ts'
import { patience } from '../support/patience.ts'
import { type Running, start } from './fixture.ts'
import { connect5, farewell5, subscribe5 } from './mqtt5/wire5.ts'
import { CONNACK, connectPacket, type Packet, packetsIn, publishPacket } from './wire.ts'

/** A client that goes on writing, and reads nothing, while the bridge ends its session. */
interface Writer {
  write(bytes: Uint8Array): Promise<void>
  /** Stops reading; what has come by then is thrown away. */
  deaf(): void
  /** Reads to the end, and returns what came since. It fails if the connection was reset. */
  rest(): Promise<Buffer>
  cut(): void
}

const DISCONNECT = 14

function onSocket(socket: Socket): Writer {
  const chunks: Buffer[] = []
  const failed = new Promise<never>((_, reject) => socket.once('error', reject))
  failed.catch(() => undefined)
  const ended = once(socket, 'end')
  socket.on('data', (chunk) => chunks.push(chunk))
  onTestFinished(() => void socket.destroy())
  return {
    write: (bytes) =>
      Promise.race([failed, new Promise<void>((resolve) => socket.write(bytes, () => resolve()))]),
    deaf: () => {
      socket.pause()
      chunks.length = 0
    },
    cut: () => void socket.destroy(),
    async rest() {
      socket.resume()
      await Promise.race([failed, ended])
      const closed = once(socket, 'close')
      socket.end()
      await Promise.race([failed, closed])
      return Buffer.concat(chunks)
    },
  }
}

const DIAL: Record<string, (bridge: Running) => Promise<Writer>> = {
  async tcp({ port }) {
    const socket = dialTcp({ port, host: '127.0.0.1', allowHalfOpen: true })
    await once(socket, 'connect')
    return onSocket(socket)
  },
  async tls({ broker }) {
    const folder = mkdtempSync(join(tmpdir(), 'limb-lingering-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const ca = authority(folder)
    const { cert, key } = ca.issue('localhost')
    const { port } = await broker.listenTls('127.0.0.1', 0, {
      material: { cert, key },
      minVersion: 'TLSv1.2',
      asksForCertificate: false,
      requiresCertificate: false,
      handshakeTimeoutMs: patience(5000),
      nowMs: () => Date.now(),
    })
    const options = { port, host: '127.0.0.1', ca: ca.cert, servername: 'localhost', allowHalfOpen: true }
    const socket = dialTls(options)
    await once(socket, 'secureConnect')
    return onSocket(socket)
  },
  async websocket({ broker }) {
    const server = await startHttpWith({
      attach: (stream, peer) => broker.attach(stream, { ...peer, local: false, transport: 'websocket' }),
    })
    onTestFinished(() => server.close())
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/mqtt`, ['mqtt'])
    const chunks: Buffer[] = []
    socket.on('message', (data) => chunks.push(data as Buffer))
    const failed = new Promise<never>((_, reject) => socket.once('error', reject))
    failed.catch(() => undefined)
    const closed = once(socket, 'close')
    await once(socket, 'open')
    const { _socket: raw } = socket as unknown as { _socket: Socket }
    const reset = new Promise<never>((_, reject) => raw.once('error', reject))
    reset.catch(() => undefined)
    onTestFinished(() => socket.terminate())
    return {
      write: (bytes) =>
        Promise.race([
          reset,
          new Promise<void>((resolve, reject) =>
            socket.send(bytes, (error) => (error ? reject(error) : resolve())),
          ),
        ]),
      deaf: () => {
        socket.pause()
        chunks.length = 0
      },
      cut: () => socket.terminate(),
      async rest() {
        socket.resume()
        const [code] = await Promise.race([failed, reset, closed])
        expect(code).toBe(1000)
        return Buffer.concat(chunks)
      },
    }
  },
}

const TRANSPORTS = Object.keys(DIAL).map((name) => ({ name }))

function dialBy(name: string, bridge: Running): Promise<Writer> {
  return (DIAL[name] as (typeof DIAL)[string])(bridge)
}

const message = publishPacket('limb/node/cam1/data/x', 'x'.repeat(1024))

/** Many more messages, one write after the other: the first one that meets a closed socket has it reset. */
async function goOn(client: Writer): Promise<void> {
  for (let i = 0; i < 50; i++) await client.write(message)
}

describe.each(TRANSPORTS)('over $name a client that goes on writing', ({ name }) => {
  const skipped = name === 'tls' && lacking('openssl') !== undefined

  test.skipIf(skipped)('reads why its session ended, and that the bridge has closed its side', async () => {
    // A clock that stands: on a busy machine the time of lingering would be over first.
    const bridge = await start({ clock: new FakeClock() })
    const client = await dialBy(name, bridge)
    await client.write(connect5({ username: 'cam1', password: 'key' }))
    await bridge.core.until('opened')
    client.deaf()
    // Reserved options.
    await client.write(subscribe5([['t/x', 0xc0]]))
    await bridge.core.until('closed')
    await goOn(client)
    const packets: Packet[] = packetsIn(await client.rest())
    expect(packets.at(-1)?.type).toBe(DISCONNECT)
    const { code, properties } = farewell5(packets.at(-1) as Packet)
    expect(code).toBe(0x81)
    expect(properties['1f']).toEqual(['reserved subscription options are set'])
    const open = () => bridge.broker.counters.connections[name as 'tcp']
    await expect.poll(open, { timeout: patience(5000) }).toBe(0)
    expect(bridge.broker.strangerBytes).toBe(0)
  })

  test.skipIf(skipped).each([
    ['3.1.1', () => connectPacket({ username: 'cam1', password: 'wrong', level: 4 }), 4],
    ['5', () => connect5({ username: 'cam1', password: 'wrong' }), 0x86],
  ])('reads why its CONNECT of MQTT %s was refused', async (_version, packet, code) => {
    const bridge = await start({ clock: new FakeClock() })
    const client = await dialBy(name, bridge)
    client.deaf()
    await client.write(packet())
    await expect.poll(() => bridge.broker.counters.refused.credentials).toBe(1)
    await goOn(client)
    const [connack] = packetsIn(await client.rest())
    expect(connack).toMatchObject({ type: CONNACK })
    expect(connack?.body[1]).toBe(code)
  })
})

describe('a session that is over', () => {
  test('is over for the next of its name before its client has closed the connection', async () => {
    // A clock that stands: whoever waited for the time of lingering would wait for ever.
    const bridge = await start({ clock: new FakeClock() })
    const older = await DIAL.tcp?.(bridge)
    const newer = await DIAL.tcp?.(bridge)
    const connect = connect5({ username: 'viewer1', clientId: 'one' })
    await older?.write(connect)
    await bridge.core.until('opened')
    older?.deaf()
    await newer?.write(connect)
    const { session } = await bridge.core.until('closed')
    await bridge.core.until('opened', (event) => event.session !== session)
    expect(bridge.broker.counters.connections.tcp).toBe(2)
    const [last] = packetsIn((await older?.rest()) as Buffer)
    expect(farewell5(last as Packet).code).toBe(0x8e)
    // Its clock stands: the bridge would wait for this client for ever when it stops.
    newer?.cut()
  })

  test('keeps nobody out: it goes when there is no room', async () => {
    const bridge = await start({ clock: new FakeClock(), limits: { maxConnections: 1 } as never })
    const over = await dialBy('tcp', bridge)
    over.deaf()
    await over.write(connect5({ username: 'cam1', password: 'wrong' }))
    await expect.poll(() => bridge.broker.counters.refused.credentials).toBe(1)
    await over.write(message)
    const next = await dialBy('tcp', bridge)
    await next.write(connect5({ username: 'viewer1' }))
    await bridge.core.until('opened')
    const third = await dialBy('tcp', bridge)
    third.deaf()
    // There is one session now, which is not over.
    await expect.poll(() => bridge.broker.counters.refused.connections).toBe(1)
    next.cut()
  })

  test('leaves a bridge that stops no connection', async () => {
    const bridge = await start()
    const client = await DIAL.tcp?.(bridge)
    await client?.write(connect5({ username: 'viewer1' }))
    await bridge.core.until('opened')
    client?.deaf()
    await bridge.stop()
    expect(bridge.broker.counters.connections.tcp).toBe(0)
    const [last] = packetsIn((await client?.rest()) as Buffer)
    expect(farewell5(last as Packet).code).toBe(0x8b)
  })
})

/** Two ends of a connection, the near one lingering. */
async function lingering(maxStrangerBytes = 1_000_000) {
  const clock = new FakeClock()
  const strangers = new Strangers({ clock, maxBytes: () => maxStrangerBytes, spent: () => undefined })
  const all = new Lingering({ clock, strangers })
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const enter = async () => {
    const far = dialTcp({
      port: (server.address() as AddressInfo).port,
      host: '127.0.0.1',
      allowHalfOpen: true,
    })
    far.on('error', () => undefined)
    const [near] = (await once(server, 'connection')) as [Socket]
    near.on('error', () => undefined)
    onTestFinished(() => {
      near.destroy()
      far.destroy()
    })
    await new Promise<void>((resolve) => near.end('last words', resolve))
    all.begin(near, { address: '127.0.0.1', local: false, transport: 'tcp' })
    return { near, far, closed: once(near, 'close') }
  }
  onTestFinished(() => void server.close())
  return { clock, strangers, all, enter }
}

describe('a connection that lingers', () => {
  test('closes two seconds later, whatever its peer does', async () => {
    const { all, clock, strangers, enter } = await lingering()
    const { near, closed } = await enter()
    clock.advance(1999)
    expect(near.destroyed).toBe(false)
    clock.advance(1)
    expect(near.destroyed).toBe(true)
    await closed
    expect([all.size, strangers.size, clock.timers]).toEqual([0, 0, 0])
  })

  test('gives its place once, and to who comes from its address where that is asked', async () => {
    const { all, enter } = await lingering()
    const [older, newer] = [await enter(), await enter()]
    expect(all.makeRoom('192.0.2.1')).toBe(false)
    expect([all.makeRoom('127.0.0.1'), all.makeRoom(), all.makeRoom()]).toEqual([true, true, false])
    await Promise.all([older.closed, newer.closed])
    expect(all.size).toBe(0)
  })

  test('closes when its peer does', async () => {
    const { all, enter } = await lingering()
    const { far, closed } = await enter()
    far.resume().end('more')
    await closed
    await all.over()
    expect(all.size).toBe(0)
  })

  test('reads four mebibytes and drops them, no more', async () => {
    const { enter } = await lingering()
    const { near, far, closed } = await enter()
    const mebibyte = Buffer.alloc(1024 * 1024)
    for (let i = 0; i < 5; i++) far.write(mebibyte)
    await closed
    expect(near.bytesRead).toBeGreaterThan(4 * mebibyte.length)
    expect(near.bytesRead).toBeLessThan(4.5 * mebibyte.length)
  })

  test('costs what any stranger costs, and goes before all others when that is too much', async () => {
    const { strangers, enter } = await lingering(3 * BASE_BYTES.tcp)
    const older: Stranger & { evicted: boolean } = {
      baseBytes: BASE_BYTES.tcp,
      mayGo: true,
      evicted: false,
      cost: () => 2 * BASE_BYTES.tcp,
      evict() {
        this.evicted = true
      },
    }
    strangers.enter(older)
    const first = await enter()
    expect(strangers.bytes).toBe(3 * BASE_BYTES.tcp)
    const second = await enter()
    await Promise.all([first.closed, second.closed])
    expect(older.evicted).toBe(false)
    expect(strangers.bytes).toBe(2 * BASE_BYTES.tcp)
  })
})
