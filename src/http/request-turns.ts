import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../kernel/clock.ts'
import { keepFewChunks } from '../kernel/few-chunks.ts'
import { shareReads } from '../kernel/shared-reads.ts'
import { PacketTurns } from './packet-turns.ts'
import { gatherUnread } from './unread-bodies.ts'

/**
 * Requests get their turns, whoever sends them: those of one connection are handled one after the other, and of all
 * connections some in each turn of the event loop; packets and the ends of connections have their time in a turn too.
 * Otherwise one packet with a thousand requests in it would be one turn, in which the bridge does nothing else.
 */

/** Requests that begin in one turn of the event loop. */
const PER_TURN = 8
/** Requests of one connection that may wait for their turn. No browser sends a second one before it has its answer. */
const MAX_WAITING = 16
/** The end of a request's first line, up to its version: JSON has no line end in its texts, so that a body has hardly ever one. */
const PROTOCOL = Buffer.from(' HTTP/')
const VERSION_LINE = /^\d\.\d\r\n/
const VERSION_LENGTH = 5

interface Asked {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** The requests of one connection. */
interface Line {
  readonly waiting: Asked[]
  busy: boolean
}

type Handle = (request: IncomingMessage, response: ServerResponse) => void

export interface RequestTurns {
  /** Returns whether the request was handed to who answers it. */
  hasBegun(request: IncomingMessage): boolean
}

/** Puts turns before the handlers that `server` has. `ended`: a connection had to go that asked too much in one go. */
export function takeTurns(server: Server, clock: Clock, ended: () => void): RequestTurns {
  const handlers = server.listeners('request') as Handle[]
  const turns = new Turns((request, response) => {
    for (const handle of handlers) handle(request, response)
  }, ended)
  server.removeAllListeners('request')
  server.on('request', (request: IncomingMessage, response: ServerResponse) => turns.ask(request, response))
  const opened = 'setSecureContext' in server ? 'secureConnection' : 'connection'
  const packets = new PacketTurns(clock)
  const leaves = new WeakMap<object, () => void>()
  server.on(opened, (socket: Socket) => {
    shareReads(socket)
    keepFewChunks(socket)
    const look = lookAtPackets(socket, packets, ended)
    const ends = ENDS.map((end) => endInTurn(socket, end, packets))
    leaves.set(socket, () => {
      socket.off('data', look)
      packets.leave(socket)
      for (const leave of ends) leave()
    })
  })
  // Whoever takes the connection over reads it by itself.
  server.prependListener('upgrade', ({ socket }: IncomingMessage) => leaves.get(socket)?.())
  return turns
}

/**
 * Ends a connection whose packet has more requests in it than may wait, before it is parsed: the parser of Node goes on
 * to the end of a packet, whatever became of its connection.
 */
function lookAtPackets(socket: Socket, packets: PacketTurns, ended: () => void): (packet: Buffer) => void {
  const listeners = socket.listeners('data') as ((packet: Buffer) => void)[]
  const parse = (packet: Buffer) => {
    for (const listener of listeners) listener.call(socket, packet)
  }
  const look = (packet: Buffer) => {
    if (socket.destroyed) return
    if (!hasMany(packet)) {
      packets.take(socket, packet, parse)
      return
    }
    socket.destroy()
    ended()
  }
  socket.removeAllListeners('data')
  socket.on('data', look)
  return look
}

/** Lists Node's listeners of the end of a connection: they give up each request that was not answered, with an error and its stack. */
const ENDS = [
  { event: 'end', name: 'bound socketOnEnd' },
  { event: 'close', name: 'bound socketOnClose' },
] as const

/** Has Node's listener of the end of a connection called in its turn. Returns what leaves the connection alone. */
function endInTurn(socket: Socket, { event, name }: (typeof ENDS)[number], packets: PacketTurns): () => void {
  const listener = socket.listeners(event).find((each) => each.name === name) as (() => void) | undefined
  if (listener === undefined) return () => undefined
  const inTurn = () => packets.end(() => listener.call(socket))
  socket.off(event, listener)
  socket.on(event, inTurn)
  return () => socket.off(event, inTurn)
}

function hasMany(packet: Buffer): boolean {
  let requests = 0
  for (let at = packet.indexOf(PROTOCOL); at >= 0; at = packet.indexOf(PROTOCOL, at)) {
    at += PROTOCOL.length
    if (!VERSION_LINE.test(packet.toString('latin1', at, at + VERSION_LENGTH))) continue
    requests++
    if (requests > MAX_WAITING) return true
  }
  return false
}

class Turns implements RequestTurns {
  readonly #handle: Handle
  readonly #ended: () => void
  readonly #lines = new WeakMap<object, Line>()
  readonly #begun = new WeakSet<IncomingMessage>()
  /** Connections whose next request may begin, who waits longest first. */
  readonly #ready = new Set<Line>()
  #thisTurn = 0
  #next: NodeJS.Immediate | undefined

  constructor(handle: Handle, ended: () => void) {
    this.#handle = handle
    this.#ended = ended
  }

  hasBegun(request: IncomingMessage): boolean {
    return this.#begun.has(request)
  }

  ask(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    gatherUnread(request)
    // The rest of a packet comes in even when its connection has been ended.
    if (socket.destroyed) return
    const line = this.#lineOf(socket)
    if (line.waiting.length >= MAX_WAITING) {
      line.waiting.length = 0
      socket.destroy()
      this.#ended()
      return
    }
    line.waiting.push({ request, response })
    if (line.busy) return
    // Who comes first does not wait at all, unless others do.
    if (this.#ready.size === 0 && this.#thisTurn < PER_TURN) this.#begin(line)
    else this.#ready.add(line)
    this.#goOnLater()
  }

  #lineOf(socket: object): Line {
    const known = this.#lines.get(socket)
    if (known !== undefined) return known
    const line: Line = { waiting: [], busy: false }
    this.#lines.set(socket, line)
    return line
  }

  #begin(line: Line): void {
    this.#ready.delete(line)
    const asked = line.waiting.shift()
    // Of who has closed its side Node has given up the requests that it has not answered.
    if (asked === undefined || asked.request.socket.destroyed || asked.response.destroyed) return
    const { request, response } = asked
    this.#thisTurn++
    this.#begun.add(request)
    line.busy = true
    response.once('close', () => {
      line.busy = false
      if (line.waiting.length === 0) return
      this.#ready.add(line)
      this.#goOnLater()
    })
    this.#handle(request, response)
  }

  #goOnLater(): void {
    this.#next ??= setImmediate(() => {
      this.#next = undefined
      // Those that began before the immediates of this turn are among its few.
      for (const line of this.#ready) {
        if (this.#thisTurn >= PER_TURN) break
        this.#begin(line)
      }
      this.#thisTurn = 0
      if (this.#ready.size > 0) this.#goOnLater()
    })
  }
}
