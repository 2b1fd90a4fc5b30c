import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectPacket, identifier, packet, publishPacket, text } from '../support/mqtt-wire.ts'
import { type Attack, hold, id, LIMB, open, session, type Target, until, VIEWER } from './attacker.ts'

/** SUBSCRIBE packets of some filters each. */
export function subscribes(
  filters: readonly string[],
  perPacket: number,
  version: 4 | 5 = 4,
  qos = 1,
): Buffer[] {
  const packets: Buffer[] = []
  for (let at = 0; at < filters.length; at += perPacket) {
    const some = filters.slice(at, at + perPacket).flatMap((filter) => [text(filter), Buffer.from([qos])])
    packets.push(
      packet(
        0x82,
        identifier((packets.length % 65_000) + 1),
        Buffer.alloc(version === 5 ? 1 : 0),
        Buffer.concat(some),
      ),
    )
  }
  return packets
}
export function unsubscribe(filters: readonly string[], n: number): Buffer {
  return packet(0xa2, identifier((n % 65_000) + 1), Buffer.concat(filters.map(text)))
}

async function speaks(port: number, connect: Buffer): Promise<Socket> {
  const socket = open(port)
  socket.write(connect)
  await Promise.race([once(socket, 'data'), once(socket, 'close')])
  return socket
}
const viewer5 = (mqtt: number, viewer: string) =>
  speaks(mqtt, connectPacket({ clientId: id(), username: VIEWER, password: viewer, version: 5 }))
function persistent(clientId: string, username: string, password: string): Buffer {
  return connectPacket({ clientId, username, password, clean: false })
}

const TAIL = 'a/b/c/d/e/f/g/h/i/j/k/l'
const OWN = `limb/principal/${VIEWER}/response/${TAIL}`
/** All ways to write a topic with `+` for some of its levels. */
export function matching(topic: string, count: number): string[] {
  const levels = topic.split('/')
  return Array.from({ length: Math.min(count, 2 ** levels.length) }, (_, bits) =>
    levels.map((level, i) => ((bits >> i) & 1 ? '+' : level)).join('/'),
  )
}

async function give(socket: Socket, packets: readonly Buffer[], end: number): Promise<void> {
  for (const each of packets) {
    while (socket.writableNeedDrain && !socket.destroyed && performance.now() < end) await sleep(5)
    if (socket.destroyed) return
    socket.write(each)
  }
}

/** Subscribes, and then asks for something without end, of which the answer goes to `OWN`. */
function answersTo(filters: readonly string[], version: 4 | 5 = 4, sessions = 1): Attack {
  return async ({ mqtt, viewer, seconds }) => {
    const end = until(seconds)
    const sockets = await Promise.all(
      Array.from({ length: sessions }, () =>
        version === 5 ? viewer5(mqtt, viewer) : session(mqtt, id(), VIEWER, viewer),
      ),
    )
    const share = Math.ceil(filters.length / sessions)
    let asked = 0
    await Promise.all(
      sockets.map(async (socket, i) => {
        socket.resume()
        await give(socket, subscribes(filters.slice(i * share, (i + 1) * share), 500, version), end)
      }),
    )
    await sleep(500)
    while (performance.now() < end) {
      for (const socket of sockets)
        if (!socket.destroyed && !socket.writableNeedDrain)
          socket.write(
            publishPacket(`limb/principal/${VIEWER}/request/${TAIL}`, '{}', (asked++ % 65_000) + 1, {
              version,
            }),
          )
      await sleep(5)
    }
    for (const socket of sockets) socket.destroy()
    return asked
  }
}

/** Subscribes, while the limb publishes without end. */
function limbTo(filters: readonly string[], leaf: string): Attack {
  return async ({ mqtt, viewer, limbKey, seconds }) => {
    const end = until(seconds)
    const socket = await session(mqtt, id(), VIEWER, viewer)
    socket.resume()
    await give(socket, subscribes(filters, 500), end)
    const limb = await session(mqtt, id(), LIMB, limbKey)
    limb.resume()
    let sent = 0
    while (performance.now() < end && !limb.destroyed) {
      if (!limb.writableNeedDrain)
        limb.write(
          Buffer.concat(
            Array.from({ length: 5 }, () =>
              publishPacket(`limb/node/${LIMB}/data/${leaf}`, 'x', (sent++ % 65_000) + 1),
            ),
          ),
        )
      await sleep(5)
    }
    for (const each of [socket, limb]) each.destroy()
    return sent
  }
}

/** A session sends lists of filters as large as they may be. */
function lists(
  makeAll: () => readonly Buffer[],
  who: (target: Target) => readonly [string, string],
  sessions = 4,
): Attack {
  return async (target) => {
    const end = until(target.seconds)
    const [name, password] = who(target)
    const sockets = await Promise.all(
      Array.from({ length: sessions }, () => session(target.mqtt, id(), name, password)),
    )
    for (const socket of sockets) socket.resume()
    const packets = makeAll()
    let sent = 0
    while (performance.now() < end) {
      for (const socket of sockets)
        if (!socket.destroyed && !socket.writableNeedDrain)
          socket.write(packets[sent++ % packets.length] ?? '')
      await sleep(20)
    }
    for (const socket of sockets) socket.destroy()
    return sent
  }
}

const asViewer = ({ viewer }: Target) => [VIEWER, viewer] as const
const asLimb = ({ limbKey }: Target) => [LIMB, limbKey] as const
const shortFilters = (count: number) => Array.from({ length: count }, (_, i) => `${i % 10}`)
const deep = (n: number) => Array.from({ length: 12 }, (_, i) => `${n.toString(36)}${i}`).join('/')
const long = (n: number) => `limb/node/+/data/${n}${'x'.repeat(900)}/#`

/** Sessions with very many subscriptions that stay behind. */
function stored(filters: (session: number) => readonly string[], sessions: number, perPacket = 500): Attack {
  return async ({ mqtt, viewer, seconds }) => {
    const end = until(seconds)
    let done = 0
    for (let i = 0; i < sessions && performance.now() < end; i++) {
      const socket = await speaks(mqtt, persistent(`s${i}`, VIEWER, viewer))
      socket.resume()
      await give(socket, subscribes(filters(i), perPacket), end)
      while (socket.writableLength > 0 && !socket.destroyed && performance.now() < end) await sleep(5)
      await sleep(300)
      socket.destroy()
      done++
    }
    while (performance.now() < end) await sleep(100)
    return done
  }
}

/** A stored session with very many subscriptions comes and goes. */
const returning: Attack = async ({ mqtt, viewer, seconds }) => {
  const end = until(seconds)
  const filters = Array.from({ length: 60_000 }, (_, i) => `limb/node/n${i}/status`)
  let times = 0
  while (performance.now() < end) {
    const socket = await speaks(mqtt, persistent('s', VIEWER, viewer))
    socket.resume()
    if (times === 0) await give(socket, subscribes(filters, 500), end)
    await sleep(300)
    socket.destroy()
    times++
  }
  return times
}

const candidateLists = (target: Target) => {
  const list = subscribes(shortFilters(7000), 7000)[0] as Buffer
  return hold(target, target.mqtt, 480, (socket) => {
    const name = `c${id()}`
    socket.write(connectPacket({ clientId: name, username: name }))
    socket.once('data', () => {
      for (let i = 0; i < 10; i++) socket.write(list)
    })
  })
}

export const SUBSCRIPTION_ATTACKS: Readonly<Record<string, Attack>> = {
  'filters that all match one answer': answersTo(matching(OWN, 60_000)),
  'filters that all match the data of a limb': limbTo(
    matching(`limb/node/${LIMB}/data/${TAIL}`, 60_000),
    TAIL,
  ),
  'wildcards that match nothing, and one that does': limbTo(
    ['#', ...Array.from({ length: 60_000 }, (_, i) => `limb/node/+/data/${i}/#`)],
    'x',
  ),
  'groups that share one answer': answersTo(
    Array.from({ length: 60_000 }, (_, i) => `$share/g${i}/limb/principal/+/response/#`),
    5,
  ),
  'filters of many levels': answersTo(
    Array.from({ length: 61_000 }, (_, n) => `limb/node/+/data/${deep(n)}`),
  ),
  'long filters': answersTo(Array.from({ length: 12_000 }, (_, n) => long(n))),
  'lists of denied filters of a viewer': lists(() => subscribes(shortFilters(200_000), 200_000), asViewer),
  'lists of different filters of a viewer': lists(
    () =>
      [0, 1, 2].flatMap((n) =>
        subscribes(
          Array.from({ length: 45_000 }, (_, i) => `limb/node/${i}.${n}/status`),
          45_000,
        ),
      ),
    asViewer,
  ),
  'lists of different filters of a limb': lists(
    () =>
      [0, 1, 2].flatMap((n) =>
        subscribes(
          Array.from({ length: 120_000 }, (_, i) => `${i}.${n}`),
          120_000,
        ),
      ),
    asLimb,
  ),
  'lists of filters to unsubscribe': lists(() => [unsubscribe(shortFilters(400_000), 1)], asLimb),
  'lists of candidates': candidateLists,
  'stored sessions with very many subscriptions': stored(
    (s) => Array.from({ length: 60_000 }, (_, i) => `limb/node/+/data/${s}/${i}/#`),
    12,
  ),
  'a stored session with very many subscriptions that returns': returning,
  'stored sessions that subscribe very much in one packet': stored(
    (s) => Array.from({ length: 50_000 }, (_, i) => `limb/node/n${s}.${i}/+`),
    12,
    50_000,
  ),
}
