import { connect as connectSocket, type NetConnectOpts, type Socket } from 'node:net'
import {
  type ConnectOptions,
  connectPacket,
  DISCONNECT,
  PACKET,
  PacketReader,
  pubackPacket,
  publishPacket,
  subscribePacket,
  unsubscribePacket,
  type Version,
} from './mqtt-wire.ts'

export type Where =
  | { readonly host: string; readonly port: number; readonly localAddress?: string | undefined }
  | { readonly socket: string }

export type OnMessage = (topic: string, payload: Buffer, retain: boolean) => void

/** The server said no to CONNECT. */
export class RefusedConnect extends Error {
  readonly code: number

  constructor(code: number) {
    super(`CONNECT refused with code ${code}`)
    this.code = code
  }
}

interface Waiting {
  readonly resolve: (code: number) => void
  readonly reject: (error: Error) => void
}

/** One client on a bare socket, of MQTT 3.1.1 or, without properties, 5. Acknowledges QoS 1 at once. Never reconnects. */
export class RawClient {
  onMessage: OnMessage = () => {}
  /** Once, whatever ended it. */
  readonly closed: Promise<void>
  readonly #socket: Socket
  readonly #waiting = new Map<number, Waiting>()
  #connack: Waiting | null = null
  #lastId = 1
  #version: Version = 4

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    const reader = new PacketReader((first, body) => this.#packet(first, body))
    socket.on('data', (chunk: Buffer) => reader.push(chunk))
    // What an error means for those who wait is told by close.
    socket.on('error', () => {})
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#failAll(new Error('the connection was closed'))
        resolve()
      })
    })
  }

  get alive(): boolean {
    return !this.#socket.destroyed
  }

  /** Resolves after CONNACK; rejects with RefusedConnect, or when the connection ends before. */
  async connect(options: ConnectOptions): Promise<void> {
    this.#version = options.version ?? 4
    const code = await new Promise<number>((resolve, reject) => {
      this.#connack = { resolve, reject }
      if (this.#socket.destroyed) reject(new Error('the connection was closed'))
      this.#socket.write(connectPacket(options))
    })
    if (code !== 0) throw new RefusedConnect(code)
  }

  /** At QoS 1. Resolves with the PUBACK. */
  async publish(topic: string, payload: string | Uint8Array): Promise<void> {
    const id = this.#nextId()
    await this.#ask(id, publishPacket(topic, payload, id, { version: this.#version }))
  }

  /** Sends a PUBLISH that was made before; `id` must be the one in it and not under way. */
  async publishBytes(bytes: Buffer, id: number): Promise<void> {
    await this.#ask(id, bytes)
  }

  /** Sends a PUBLISH of QoS 0 that was made before. */
  publishUnanswered(bytes: Buffer): void {
    this.#socket.write(bytes)
  }

  /** The granted QoS, or 128. */
  async subscribe(filter: string, qos: 0 | 1 = 1): Promise<number> {
    const id = this.#nextId()
    return await this.#ask(id, subscribePacket(filter, qos, id, this.#version))
  }

  async unsubscribe(filter: string): Promise<void> {
    const id = this.#nextId()
    await this.#ask(id, unsubscribePacket(filter, id))
  }

  /** With a DISCONNECT packet. */
  end(): void {
    this.#socket.end(DISCONNECT)
  }

  /** Without one, as a device that lost its power. */
  cut(): void {
    this.#socket.destroy()
  }

  #ask(id: number, bytes: Buffer): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(new Error('the connection was closed'))
        return
      }
      this.#waiting.set(id, { resolve, reject })
      this.#socket.write(bytes)
    })
  }

  #nextId(): number {
    do this.#lastId = this.#lastId >= 65_535 ? 2 : this.#lastId + 1
    while (this.#waiting.has(this.#lastId))
    return this.#lastId
  }

  #packet(first: number, body: Buffer): void {
    const type = first >> 4
    if (type === PACKET.publish) this.#message(first, body)
    else if (type === PACKET.connack) this.#connack?.resolve(body[1] ?? 255)
    else if (type === PACKET.puback || type === PACKET.unsuback) this.#settle(body.readUInt16BE(0), 0)
    else if (type === PACKET.suback) this.#settle(body.readUInt16BE(0), body.at(-1) ?? 128)
  }

  #message(first: number, body: Buffer): void {
    const topicEnd = 2 + body.readUInt16BE(0)
    const qos = (first >> 1) & 3
    const at = qos > 0 ? topicEnd + 2 : topicEnd
    // None of those that are tested here has 128 bytes of properties.
    const payload = body.subarray(this.#version === 5 ? at + 1 + (body[at] ?? 0) : at)
    this.onMessage(body.toString('utf8', 2, topicEnd), payload, (first & 1) === 1)
    if (qos > 0) this.#socket.write(pubackPacket(body.readUInt16BE(topicEnd)))
  }

  #settle(id: number, code: number): void {
    const waiting = this.#waiting.get(id)
    if (!waiting) return
    this.#waiting.delete(id)
    waiting.resolve(code)
  }

  #failAll(error: Error): void {
    this.#connack?.reject(error)
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}

/** Connects and signs in. */
export async function connectRaw(where: Where, options: ConnectOptions): Promise<RawClient> {
  const net: NetConnectOpts =
    'socket' in where
      ? { path: where.socket }
      : {
          host: where.host,
          port: where.port,
          ...(where.localAddress === undefined ? {} : { localAddress: where.localAddress }),
        }
  const client = new RawClient(connectSocket(net))
  try {
    await client.connect(options)
  } catch (error) {
    client.cut()
    throw error
  }
  return client
}
