import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectPacket, publishPacket, subscribePacket } from '../support/mqtt-wire.ts'
import { type Attack, id, LIMB, open, type Target, until, VIEWER } from './attacker.ts'

/** Attacks by what sessions are owed: sent and not read, read and not acknowledged. */

const SESSIONS = 250
const MEGABYTE = 1_000_000
const CLEAN = 0x02

/** A session that the bridge stores, whose CONNACK was awaited. */
async function stored(port: number, clientId: string, username: string, password: string): Promise<Socket> {
  const socket = open(port)
  const connect = connectPacket({ clientId, username, password })
  const flags = connect.indexOf('MQTT') + 5
  connect[flags] = (connect[flags] ?? 0) & ~CLEAN
  socket.write(connect)
  await new Promise<void>((done) => {
    socket.once('data', () => done())
    socket.once('close', () => done())
  })
  return socket
}

/** Sessions of the viewer, each of which begins with `speak`; those that are ended come again under their name. */
async function keeping(
  { mqtt, seconds, viewer }: Target,
  speak: (socket: Socket, index: number) => void,
): Promise<number> {
  const end = until(seconds)
  const sockets = new Set<Socket>()
  let done = 0
  const keep = async (index: number) => {
    while (performance.now() < end) {
      const socket = await stored(mqtt, `s${index}`, VIEWER, viewer)
      sockets.add(socket)
      speak(socket, index)
      done++
      while (!socket.destroyed && performance.now() < end) await sleep(50)
      socket.destroy()
    }
  }
  await Promise.all(Array.from({ length: SESSIONS }, (_, i) => keep(i)))
  return done
}

/** The limb publishes megabytes, as fast as it is let. */
const megabytes =
  (topics: number, retain: boolean): Attack =>
  async ({ mqtt, limbKey, seconds }) => {
    const end = until(seconds)
    const socket = await stored(mqtt, id(), LIMB, limbKey)
    socket.resume()
    let sent = 0
    while (performance.now() < end && !socket.destroyed) {
      if (!socket.writableNeedDrain) {
        const payload = Buffer.alloc(MEGABYTE, sent % 256)
        const topic = `limb/node/${LIMB}/data/t${sent % topics}`
        socket.write(publishPacket(topic, payload, (sent++ % 65_000) + 1, { retain }))
      }
      await sleep(10)
    }
    socket.destroy()
    return sent
  }

const both =
  (first: Attack, second: Attack): Attack =>
  async (target) => {
    const [a, b] = await Promise.all([first(target), second(target)])
    return Math.min(a, b)
  }

export const OWED_ATTACKS: Readonly<Record<string, Attack>> = {
  'answers that are read and never acknowledged': (target) =>
    keeping(target, (socket) => {
      socket.resume()
      socket.write(subscribePacket(`limb/principal/${VIEWER}/response/#`, 1, 1))
      for (let i = 1; i <= 20; i++)
        socket.write(
          publishPacket(
            `limb/principal/${VIEWER}/request/node/list`,
            `{"transaction":"${id()}","limit":1000}`,
            i,
          ),
        )
    }),
  'retained data that is read and never acknowledged': both(
    (target) =>
      keeping(target, (socket) => {
        socket.resume()
        socket.write(subscribePacket(`limb/node/${LIMB}/data/#`, 1, 1))
      }),
    megabytes(20, true),
  ),
  'large messages that very many sessions read': both(
    (target) =>
      keeping(target, (socket) => {
        socket.resume()
        socket.write(subscribePacket(`limb/node/${LIMB}/data/#`, 0, 1))
      }),
    megabytes(20, false),
  ),
  'messages that are read and never acknowledged': both(
    (target) =>
      keeping(target, (socket, index) => {
        socket.resume()
        socket.write(subscribePacket(`limb/node/${LIMB}/data/t${index}`, 1, 1))
      }),
    megabytes(SESSIONS, false),
  ),
  'different messages that are not read': both(
    (target) =>
      keeping(target, (socket, index) => {
        socket.pause()
        socket.write(subscribePacket(`limb/node/${LIMB}/data/t${index}`, 1, 1))
      }),
    megabytes(SESSIONS, false),
  ),
}
