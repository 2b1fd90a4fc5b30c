import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { parseArgs } from 'node:util'
import { type BridgeProcess, startBridge } from '../support/bridge-process.ts'
import { authority } from '../support/certificates.ts'
import { connectPacket } from '../support/mqtt-wire.ts'
import { rssBytes } from '../support/process-usage.ts'

/**
 * `node test/pressure/connection-cost.ts [--count 1000]`: what a connection costs that does nothing, by transport and by
 * how far it has come, as resident memory of the bridge after a collection. `BASE_BYTES` of broker/strangers.ts are
 * these figures, rounded up.
 */

const { values } = parseArgs({ options: { count: { type: 'string', default: '1000' } } })
const KIB = 1024
const AT_ONCE = 50
/** The bridge keeps no more HTTP connections that wait for nothing. */
const MAX_HTTP = 400

const folder = mkdtempSync(join(tmpdir(), 'limb-cost-'))
const { certFile, keyFile } = authority(folder).issue('localhost')
const SETTINGS = {
  mqtt: { port: 0, maxStrangerBytes: 17_179_869_184, connectSeconds: 120, maxConnections: 100_000 },
  tls: { enabled: true, port: 0, certFile, keyFile },
  http: { enabled: true, port: 0 },
}

interface Ports {
  readonly mqtt: number
  readonly tls: number
  readonly http: number
}

async function opened(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port })
  await once(socket, 'connect')
  return socket
}

async function secured(port: number): Promise<Duplex> {
  const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  return socket
}

async function upgraded(port: number): Promise<Socket> {
  const socket = await opened(port)
  socket.write(
    'GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n',
  )
  await once(socket, 'data')
  return socket
}

/** Signs in as a candidate; `wrap` puts CONNECT into what the transport carries. */
async function candidate<T extends Duplex>(
  socket: T,
  name: string,
  wrap = (bytes: Buffer) => bytes,
): Promise<T> {
  socket.write(wrap(connectPacket({ clientId: name, username: name })))
  await once(socket, 'data')
  return socket
}

/** A frame of binary data with a mask of zeroes. */
const frame = (bytes: Buffer) => Buffer.concat([Buffer.from([0x82, 0x80 | bytes.length, 0, 0, 0, 0]), bytes])

/** The beginning of a TLS record that is not whole: a handshake that stops. */
const HALF_HELLO = Buffer.concat([Buffer.from([0x16, 3, 1, 0x40, 0]), Buffer.alloc(1000)])

const KINDS: Readonly<Record<string, (ports: Ports, i: number) => Promise<Duplex>>> = {
  'tcp: open': ({ mqtt }) => opened(mqtt),
  'tcp: candidate': async ({ mqtt }, i) => candidate(await opened(mqtt), `tcp${i}`),
  'tls: handshake that stops': async ({ tls }) => {
    const socket = await opened(tls)
    socket.write(HALF_HELLO)
    return socket
  },
  'tls: open': ({ tls }) => secured(tls),
  'tls: candidate': async ({ tls }, i) => candidate(await secured(tls), `tls${i}`),
  'websocket: open': ({ http }) => upgraded(http),
  'websocket: candidate': async ({ http }, i) => candidate(await upgraded(http), `ws${i}`, frame),
  'http: open': ({ http }) => opened(http),
}

async function settledBytes(bridge: BridgeProcess): Promise<number> {
  // What was said last has been heard, and what was closed is gone.
  await sleep(500)
  bridge.child.send('collect-all')
  await once(bridge.child, 'message')
  return rssBytes(bridge.pid)
}

async function openMany(ports: Ports, kind: string, count: number): Promise<Duplex[]> {
  const sockets: Duplex[] = []
  while (sockets.length < count) {
    const from = sockets.length
    const some = Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, i) =>
      KINDS[kind]?.(ports, from + i),
    )
    for (const socket of await Promise.all(some)) {
      if (socket === undefined) continue
      socket.on('error', () => {})
      sockets.push(socket)
    }
  }
  return sockets
}

async function costOf(kind: string, count: number): Promise<number> {
  let tls = 0
  const bridge = await startBridge({
    folder: mkdtempSync(join(folder, 'bridge-')),
    settings: SETTINGS,
    ipc: true,
    nodeArgs: ['--expose-gc', '--import', new URL('../bench/gc-on-request.ts', import.meta.url).href],
    hear(line) {
      if (line.startsWith('{')) tls = (JSON.parse(line) as { tls?: { port: number } }).tls?.port ?? tls
    },
  })
  try {
    const ports = { mqtt: bridge.mqtt.port, tls, http: bridge.http?.port ?? 0 }
    // Code that runs for the first time, and buffers that are made once, are nobody's.
    for (const socket of await openMany(ports, kind, count)) socket.destroy()
    const before = await settledBytes(bridge)
    const sockets = await openMany(ports, kind, count)
    const after = await settledBytes(bridge)
    const left = sockets.filter(({ destroyed }) => destroyed).length
    for (const socket of sockets) socket.destroy()
    if (left > 0) throw new Error(`${left} of ${count} were ended by the bridge`)
    return (after - before) / count
  } finally {
    await bridge.kill()
  }
}

for (const kind of Object.keys(KINDS)) {
  const count = Math.min(Number(values.count), kind.startsWith('http') ? MAX_HTTP : Number.POSITIVE_INFINITY)
  const bytes = await costOf(kind, count)
  console.log(`${kind.padEnd(28)} ${(bytes / KIB).toFixed(1).padStart(6)} KiB each of ${count}`)
}
rmSync(folder, { recursive: true, force: true })
