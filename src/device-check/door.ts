import { readFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer } from 'node:tls'
import { PublishFrame } from '../broker/publish-frame.ts'
import { unmappedAddress } from '../kernel/address.ts'
import type { Clock } from '../kernel/clock.ts'
import { messageOf, StartError } from '../kernel/errors.ts'
import { type Packet, PacketStream, readPacket } from './packets.ts'
import { WebDoor } from './web-door.ts'

/**
 * The listener that the device connects to. It hands everything to a real bridge behind it, looks at the packets, and can
 * do what a network does: cut a connection, let nobody in, fall silent, bring a message twice.
 */

export interface DoorEvents {
  /** Somebody connected; `turnedAway` when nobody was let in. */
  arrived(turnedAway: boolean): void
  fromDevice(connection: DoorConnection, packet: Packet): void
  toDevice(connection: DoorConnection, packet: Packet): void
  closed(connection: DoorConnection): void
  /** Somebody came over HTTP and was turned away, with this answer. */
  refused(why: string): void
}

export interface CheckDoorOptions {
  readonly host: string
  readonly port: number
  readonly tls?: { readonly certFile: string; readonly keyFile: string } | undefined
  /** The port of the bridge on this machine. */
  readonly bridgePort: number
  readonly events: DoorEvents
  readonly clock: Clock
}

/** One device has one connection, or a few while it changes over; strangers on the network take no more. */
const MAX_CONNECTIONS = 32
/** The packet identifier of what the check sends itself: the bridge counts from 1 and never gets there in a check. */
const OWN_PACKET_ID = 65_000

export class Door {
  /** Resets each new connection at once, as a machine does whose bridge is away. */
  turnsAway = false
  readonly #server: Server
  readonly #options: CheckDoorOptions
  readonly #open = new Set<DoorConnection>()
  /** The sockets, also those on which nothing has come yet. */
  readonly #sockets = new Set<Socket>()
  readonly #web: WebDoor

  private constructor(options: CheckDoorOptions) {
    this.#options = options
    this.#web = new WebDoor(options.clock, {
      came: (stream, socket) => this.#relay(stream, socket),
      refused: (why) => options.events.refused(why),
    })
    this.#server = options.tls === undefined ? createServer() : createTlsServer(filesOf(options.tls))
    this.#server.on('connection', (socket: Socket) => this.#arrived(socket))
    const accepted = options.tls === undefined ? 'connection' : 'secureConnection'
    this.#server.on(accepted, (socket: Socket) => this.#accept(socket))
    this.#server.maxConnections = MAX_CONNECTIONS
    // A handshake that fails is the device's; its TLS library says why.
    this.#server.on('tlsClientError', () => {})
  }

  /** @throws StartError when the port cannot be listened on. */
  static async open(options: CheckDoorOptions): Promise<Door> {
    const door = new Door(options)
    await new Promise<void>((resolve, reject) => {
      door.#server.once('error', (error) => reject(new StartError(whyNot(options, error))))
      door.#server.listen(options.port, options.host, resolve)
    })
    return door
  }

  get port(): number {
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const connection of this.#open) connection.cut()
    for (const socket of this.#sockets) socket.destroy()
    this.#web.close()
    await closed
  }

  #arrived(socket: Socket): void {
    this.#options.events.arrived(this.turnsAway)
    if (!this.turnsAway) return
    socket.on('error', () => {})
    // A reset, as from a port on which nobody listens: a clean end would look like a broker of another version.
    socket.resetAndDestroy()
  }

  #accept(socket: Socket): void {
    if (socket.destroyed) return
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => {})
    // The first bytes tell whether it speaks MQTT, or HTTP that becomes a WebSocket.
    socket.once('data', (first: Buffer) => {
      socket.pause()
      socket.unshift(first)
      if (WebDoor.takes(first)) this.#web.take(socket)
      else this.#relay(socket, socket)
      socket.resume()
    })
  }

  /** `stream` has the bytes of MQTT; `socket` is the connection below. */
  #relay(stream: Duplex, socket: Socket): void {
    const { bridgePort, events } = this.#options
    const connection = new DoorConnection(stream, socket, bridgePort, events, () =>
      this.#open.delete(connection),
    )
    this.#open.add(connection)
  }
}

function filesOf({ certFile, keyFile }: { readonly certFile: string; readonly keyFile: string }) {
  const read = (option: string, file: string) => {
    try {
      return readFileSync(file)
    } catch (error) {
      throw new StartError(`${option}: cannot read ${file}: ${messageOf(error)}`)
    }
  }
  return { cert: read('--tls-cert', certFile), key: read('--tls-key', keyFile) }
}

function whyNot({ host, port }: CheckDoorOptions, error: Error & { code?: string }): string {
  if (error.code === 'EADDRINUSE')
    return `port ${port} of ${host} is taken, perhaps by your bridge: choose another one with --port`
  if (error.code === 'EACCES') return `port ${port} needs root: choose one above 1023 with --port`
  if (error.code === 'EADDRNOTAVAIL') return `this machine has no address ${host}: see --host`
  return `cannot listen on ${host}, port ${port}: ${messageOf(error)}`
}

/** One connection of a device, and the one to the bridge that belongs to it. */
export class DoorConnection {
  /** The version that its CONNECT names; 4 is MQTT 3.1.1. */
  version = 4
  readonly #device: Duplex
  readonly #socket: Socket
  readonly #bridge: Socket
  readonly #events: DoorEvents
  readonly #gone: () => void
  readonly #aliases = new Map<number, string>()
  #silent = false
  #closed = false

  constructor(device: Duplex, socket: Socket, bridgePort: number, events: DoorEvents, gone: () => void) {
    this.#device = device
    this.#socket = socket
    this.#events = events
    this.#gone = gone
    this.#bridge = connect(bridgePort, '127.0.0.1')
    socket.setNoDelay(true)
    this.#bridge.setNoDelay(true)
    this.#bridge.write(proxyLine(socket))
    this.#relay(device, this.#bridge, (bytes) => this.#fromDevice(bytes))
    this.#relay(this.#bridge, device, (bytes) => this.#toDevice(bytes))
  }

  get isOpen(): boolean {
    return !this.#closed
  }

  /** Ends it without a word, as a network does. */
  cut(): void {
    this.#socket.destroy()
    this.#device.destroy()
  }

  /** Lets nothing through any more, and leaves it open, as a bridge without power does. */
  fallSilent(): void {
    this.#silent = true
    this.#bridge.destroy()
  }

  /** Sends a message beside those of the bridge, at QoS 1. */
  inject(topic: string, payload: Uint8Array, again: boolean): void {
    const properties = this.version === 5 ? Buffer.from([0]) : undefined
    new PublishFrame(topic, payload, 1, false, again, properties).writeTo(this.#device, OWN_PACKET_ID)
  }

  #relay(from: Duplex, to: Duplex, look: (bytes: Buffer) => boolean): void {
    const stream = new PacketStream()
    from.on('data', (chunk: Buffer) => {
      if (this.#silent) return
      const packets = stream.push(chunk)
      if (packets === undefined) this.#device.destroy()
      for (const bytes of packets ?? []) if (look(bytes) && !to.write(bytes)) from.pause()
    })
    to.on('drain', () => from.resume())
    from.on('error', () => {})
    from.on('close', () => {
      if (this.#silent && from === this.#bridge) return
      // What was written still goes out; a device that does not close its end keeps nothing open.
      to.end(() => to.destroy())
      this.#over()
    })
  }

  #fromDevice(bytes: Buffer): boolean {
    const packet = readPacket(bytes, this.version)
    if (packet.kind === 'connect') this.version = packet.version
    if (packet.kind === 'puback' && packet.id === OWN_PACKET_ID) return false
    this.#events.fromDevice(this, this.#named(packet))
    return true
  }

  #toDevice(bytes: Buffer): boolean {
    this.#events.toDevice(this, readPacket(bytes, this.version))
    return true
  }

  /** The topic of an alias of MQTT 5 stands in an earlier message. */
  #named(packet: Packet): Packet {
    if (packet.kind !== 'publish' || packet.alias === undefined) return packet
    if (packet.topic !== '') this.#aliases.set(packet.alias, packet.topic)
    return { ...packet, topic: this.#aliases.get(packet.alias) ?? '' }
  }

  #over(): void {
    if (this.#closed) return
    this.#closed = true
    this.#gone()
    this.#events.closed(this)
  }
}

/** The bridge is told where the device is, by the header of the PROXY protocol: limbs that are HTTP servers are asked there. */
function proxyLine(device: Socket): string {
  const { remoteAddress = '', remotePort = 0, localAddress = '', localPort = 0 } = device
  const from = unmappedAddress(remoteAddress)
  const to = unmappedAddress(localAddress)
  const family = from.includes(':') ? 'TCP6' : 'TCP4'
  return `PROXY ${family} ${from} ${to} ${remotePort} ${localPort}\r\n`
}
