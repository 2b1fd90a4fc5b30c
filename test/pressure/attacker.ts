import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectPacket } from '../support/mqtt-wire.ts'

/** What one weak secret, or none, can do to a bridge. Each runs in a process of its own, against loopback only. */

export interface Target {
  readonly mqtt: number
  /** The port of MQTT over TLS; 0: the attack needs none, and there is none. */
  readonly tls: number
  /** The port of HTTP; of HTTPS for attacks by TLS. */
  readonly http: number
  /** The path of the control socket, for what an operator does at a bad moment. */
  readonly control: string
  readonly seconds: number
  readonly viewer: string
  readonly agent: string
  readonly limbKey: string
}

/** Returns how much it did, so that a scenario that did nothing is none. */
export type Attack = (target: Target) => Promise<number>

export const VIEWER = 'dash'
export const AGENT = 'bot'
export const LIMB = 'bad'

export const until = (seconds: number) => performance.now() + seconds * 1000

export function open(port: number): Socket {
  const socket = connect({ host: '127.0.0.1', port })
  socket.on('error', () => {})
  return socket
}

/** A session whose CONNACK was awaited. */
export async function session(
  port: number,
  clientId: string,
  username: string,
  password?: string,
  clean = true,
): Promise<Socket> {
  const socket = open(port)
  socket.write(connectPacket({ clientId, username, password, clean }))
  await new Promise<void>((done) => {
    socket.once('data', () => done())
    socket.once('close', () => done())
  })
  return socket
}

/** Keeps `count` connections that each send `first` and nothing more; those that are ended are opened again. */
export async function hold(
  { seconds }: Target,
  port: number,
  count: number,
  speak: (socket: Socket) => void,
): Promise<number> {
  const end = until(seconds)
  const sockets = new Set<Socket>()
  let opened = 0
  while (performance.now() < end) {
    for (let i = 0; i < 20 && sockets.size < count; i++) {
      const socket = open(port)
      sockets.add(socket)
      opened++
      socket.once('close', () => sockets.delete(socket))
      socket.once('connect', () => speak(socket))
      socket.resume()
    }
    await sleep(20)
  }
  for (const socket of sockets) socket.destroy()
  return opened
}

export const id = () => randomBytes(6).toString('hex')

/** Several at once, in one process. */
export function together(...attacks: readonly Attack[]): Attack {
  return async (target) => {
    const done = await Promise.all(attacks.map((attack) => attack(target)))
    return done.every((each) => each > 0) ? done.reduce((sum, each) => sum + each, 0) : 0
  }
}
