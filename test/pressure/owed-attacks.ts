import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { publishPacket, subscribePacket } from '../support/mqtt-wire.ts'
import { type Attack, id, LIMB, session, type Target, together, until, VIEWER } from './attacker.ts'

/** Attacks by what sessions are owed: sent and not read, read and not acknowledged. */

const SESSIONS = 250
const MEGABYTE = 1_000_000

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
      const socket = await session(mqtt, `s${index}`, VIEWER, viewer, false)
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
    const socket = await session(mqtt, id(), LIMB, limbKey, false)
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

/** Sessions that are stored, each subscribed, beside a limb whose messages they get. */
function subscribed(filter: (index: number) => string, qos: 0 | 1, reads: boolean, limb: Attack): Attack {
  return together(
    (target) =>
      keeping(target, (socket, index) => {
        if (reads) socket.resume()
        else socket.pause()
        socket.write(subscribePacket(`limb/node/${LIMB}/data/${filter(index)}`, qos, 1))
      }),
    limb,
  )
}

const ALL = () => '#'
const OWN = (index: number) => `t${index}`

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
  'retained data that is read and never acknowledged': subscribed(ALL, 1, true, megabytes(20, true)),
  'large messages that very many sessions read': subscribed(ALL, 0, true, megabytes(20, false)),
  'messages that are read and never acknowledged': subscribed(OWN, 1, true, megabytes(SESSIONS, false)),
  'different messages that are not read': subscribed(OWN, 1, false, megabytes(SESSIONS, false)),
}
