import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect as connectSocket, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { IClientOptions } from 'mqtt'
import { connect, type TestClient } from './client.ts'
import { Command } from './command.ts'

/**
 * Debian's Mosquitto as a child process, on a Unix socket (no port to race for), behind a TCP proxy on an
 * ephemeral port of loopback: the proxy is the wire that tests cut and heal.
 */
export interface Mosquitto extends AsyncDisposable {
  /** Of the proxy. */
  readonly port: number
  /** The CA file of a broker with TLS. */
  readonly caFile: string
  readonly folder: string
  /** Ends every connection through the proxy and accepts no more. */
  cut(): void
  /** Through the connections of now nothing goes any more, for ever, and neither end hears of the other's. */
  freeze(): void
  /** Nothing goes through until the wire is healed, and then all of it. */
  stall(): void
  heal(): void
  /** A client that does not go through the proxy. */
  client(options?: IClientOptions): Promise<TestClient>
  /** Every retained message that `filter` matches. */
  retained(filter: string): Promise<Map<string, string>>
  /** kill -9 and a new process without what was retained. */
  restart(): Promise<void>
}

export interface MosquittoOptions {
  readonly tls?: boolean
  /** Lines of the configuration in the place of `allow_anonymous true`. */
  readonly config?: readonly string[]
  readonly passwords?: Record<string, string>
}

export async function startMosquitto(options: MosquittoOptions = {}): Promise<Mosquitto> {
  const folder = mkdtempSync(join(tmpdir(), 'limb-mosquitto-'))
  const socket = join(folder, 'broker.sock')
  const caFile = join(folder, 'ca.pem')
  writeFileSync(join(folder, 'broker.conf'), configuration(folder, socket, options).join('\n'))
  let broker = await startBroker(folder)
  const proxy = await startProxy(socket)
  const clients: TestClient[] = []

  const mosquitto: Mosquitto = {
    port: proxy.port,
    caFile,
    folder,
    cut: proxy.cut,
    freeze: proxy.freeze,
    stall: proxy.stall,
    heal: proxy.heal,
    async client(more = {}) {
      const client = await connect({ socket }, more)
      clients.push(client)
      return client
    },
    async retained(filter) {
      const client = await connect({ socket })
      const found = new Map<string, string>()
      client.mqtt.on('message', (topic, payload, { retain }) => {
        if (retain) found.set(topic, payload.toString())
      })
      await client.subscribe(filter)
      // Retained messages follow SUBACK; what is published to the session itself comes after them.
      await client.subscribe('end/of/retained')
      await client.publish('end/of/retained', 'x')
      await client.next('end/of/retained')
      await client.end()
      return found
    },
    async restart() {
      await broker[Symbol.asyncDispose]()
      rmSync(socket, { force: true })
      broker = await startBroker(folder)
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.mqtt.end(true)
      proxy.close()
      await broker[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return mosquitto
}

function configuration(folder: string, socket: string, options: MosquittoOptions): string[] {
  const lines = ['user root', `listener 0 ${socket}`, 'persistence false', 'log_dest stderr']
  if (options.tls) {
    const [cert, key] = [join(folder, 'ca.pem'), join(folder, 'key.pem')]
    execFileSync(
      'openssl',
      [
        ...[
          'req',
          '-x509',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:prime256v1',
          '-nodes',
          '-days',
          '2',
        ],
        ...['-keyout', key, '-out', cert, '-subj', '/CN=localhost'],
        ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
      ],
      { stdio: 'ignore' },
    )
    lines.push(`cafile ${cert}`, `certfile ${cert}`, `keyfile ${key}`)
  }
  if (options.passwords) {
    const file = join(folder, 'passwords')
    writeFileSync(file, '')
    for (const [name, password] of Object.entries(options.passwords)) {
      execFileSync('mosquitto_passwd', ['-b', file, name, password])
    }
    lines.push(`password_file ${file}`)
  }
  return [...lines, ...(options.config ?? ['allow_anonymous true']), '']
}

async function startBroker(folder: string): Promise<Command> {
  const broker = new Command('mosquitto', ['-c', join(folder, 'broker.conf')])
  await broker.line(/mosquitto version .* running/)
  return broker
}

async function startProxy(target: string) {
  const pairs = new Set<[Socket, Socket]>()
  const frozen = new Set<[Socket, Socket]>()
  let isCut = false
  const server = createServer((near) => {
    if (isCut) {
      near.destroy()
      return
    }
    const far = connectSocket(target)
    const pair: [Socket, Socket] = [near, far]
    pairs.add(pair)
    for (const [a, b] of [pair, [far, near] as const]) {
      a.on('data', (chunk) => {
        if (!frozen.has(pair)) b.write(chunk)
      })
      a.on('error', () => {})
      a.on('close', () => {
        if (frozen.has(pair)) return
        pairs.delete(pair)
        b.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const endAll = () => {
    for (const sockets of pairs) for (const socket of sockets) socket.destroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      isCut = true
      endAll()
    },
    freeze() {
      for (const pair of pairs) frozen.add(pair)
    },
    stall() {
      for (const sockets of pairs) for (const socket of sockets) socket.pause()
    },
    heal() {
      isCut = false
      for (const sockets of pairs) for (const socket of sockets) socket.resume()
    },
    close() {
      isCut = true
      endAll()
      server.close()
    },
  }
}
