import { publishPacket, type Version } from '../support/mqtt-wire.ts'
import { connectRaw, type RawClient } from '../support/raw-client.ts'
import { limbName, type Range, registration } from './fleet.ts'
import { serveCommands } from './rpc.ts'

/**
 * The load, in a process of its own: what it costs is never counted as the server's. Everything is a closed
 * loop: at most `window` messages are unanswered at any time, whoever the server is.
 */

/** Linux gives one source address some 28,000 ports; each part of a fleet has a loopback address of its own. */
const LIMBS_PER_ADDRESS = 5000
/** More at once overflow the server's accept backlog (511), and TCP then waits a second. */
const CONNECT_WINDOW = 200

interface Target {
  readonly host: string
  readonly port: number
}

interface Limb {
  readonly client: RawClient
  readonly name: string
}

let limbs: Limb[] = []

/** Runs `job` for each index below `count`, `width` at a time. */
async function pooled(count: number, width: number, job: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  const lane = async () => {
    while (next < count) await job(next++)
  }
  await Promise.all(Array.from({ length: Math.min(width, count) }, lane))
}

async function connectLimb(target: Target, number: number, version: Version = 4): Promise<Limb> {
  const { name, key } = limbName(number)
  const localAddress =
    target.host === '127.0.0.1' ? `127.0.0.${10 + Math.floor(number / LIMBS_PER_ADDRESS)}` : undefined
  const client = await connectRaw(
    { ...target, localAddress },
    { clientId: name, username: name, password: key, version },
  )
  return { client, name }
}

async function connect(args: {
  target: Target
  range: Range
  version?: Version
}): Promise<{ wallMs: number }> {
  const { target, range, version } = args
  const started = performance.now()
  const connected: Limb[] = []
  await pooled(range.count, CONNECT_WINDOW, async (i) => {
    connected.push(await connectLimb(target, range.from + i, version))
  })
  limbs.push(...connected)
  return { wallMs: performance.now() - started }
}

/**
 * Each lane has limbs of its own and waits for the answer of one before it goes on to the next: no limb ever has
 * two unanswered heartbeats, so one packet identifier is enough for all of them.
 */
async function lane(mine: readonly Limb[], count: number, { payload, version = 4 }: Beat): Promise<void> {
  const packets = mine.map(({ name }) =>
    publishPacket(`limb/node/${name}/heartbeat`, payload, 1, { version }),
  )
  for (let i = 0; i < count; i++) {
    const at = i % mine.length
    const limb = mine[at]
    const packet = packets[at]
    if (limb && packet) await limb.client.publishBytes(packet, 1)
  }
}

interface Beat {
  readonly payload: string
  readonly version?: Version
}

/** Returns how many were sent: each lane sends the same number. */
async function heartbeats(args: Beat & { count: number; window: number }) {
  const width = Math.min(args.window, limbs.length)
  const each = Math.ceil(args.count / width)
  const started = performance.now()
  await Promise.all(
    Array.from({ length: width }, (_, first) =>
      lane(
        limbs.filter((_limb, i) => i % width === first),
        each,
        args,
      ),
    ),
  )
  return { wallMs: performance.now() - started, sent: each * width }
}

interface PairingAnswer {
  readonly status: string
  readonly requestId?: string
  readonly error?: { readonly message: string }
}

/** Connects a new limb, registers it and waits until it is pending. */
async function becomePending(target: Target, number: number): Promise<string> {
  const limb = await connectLimb(target, number)
  limbs.push(limb)
  const { client, name } = limb
  const answered = new Promise<PairingAnswer>((resolve) => {
    client.onMessage = (_topic, payload) => resolve(JSON.parse(payload.toString()) as PairingAnswer)
  })
  await client.subscribe(`limb/node/${name}/pairing`)
  await client.publish(`limb/node/${name}/register`, JSON.stringify(registration(number)))
  const answer = await answered
  if (answer.requestId === undefined) throw new Error(`${name} is ${answer.status}: ${answer.error?.message}`)
  return answer.requestId
}

async function pair({ target, range, window }: { target: Target; range: Range; window: number }) {
  const started = performance.now()
  const requestIds: string[] = []
  await pooled(range.count, window, async (i) => {
    requestIds.push(await becomePending(target, range.from + i))
  })
  return { wallMs: performance.now() - started, requestIds }
}

interface ComeBack {
  readonly target: Target
  readonly range: Range
  readonly window: number
  /** Waits for the answer to the registration: a broker alone gives none. */
  readonly isAnswered: boolean
}

/** What firmware does after each connect: SUBSCRIBE, register, the first heartbeat, one after another. */
async function comeBackOne(target: Target, number: number, isAnswered: boolean): Promise<void> {
  const limb = await connectLimb(target, number)
  limbs.push(limb)
  const { client, name } = limb
  const answered = isAnswered && new Promise<void>((resolve) => (client.onMessage = () => resolve()))
  await client.subscribe(`limb/node/${name}/pairing`)
  await client.publish(`limb/node/${name}/register`, JSON.stringify(registration(number)))
  await answered
  await client.publish(`limb/node/${name}/heartbeat`, '')
}

async function comeBack({ target, range, window, isAnswered }: ComeBack) {
  const started = performance.now()
  await pooled(range.count, window, (i) => comeBackOne(target, range.from + i, isAnswered))
  return { wallMs: performance.now() - started }
}

/** All connections break, as when a server ends; nothing waits for it. */
async function forget(_: Record<string, never>): Promise<void> {
  for (const { client } of limbs.splice(0)) client.cut()
}

interface SignIn {
  readonly target: Target
  readonly username: string
  readonly password: string
}

async function subscriber({ target, username, password }: SignIn): Promise<RawClient> {
  return await connectRaw(target, { clientId: `bench-${process.pid}`, username, password })
}

let readers: RawClient[] = []
let received = 0
/** Lanes that wait for more to be received. */
const waiting: (() => void)[] = []

interface Readers extends SignIn {
  readonly count: number
  readonly filter: string
  readonly qos: 0 | 1
  readonly version: Version
}

/** Subscribers of one filter, that count what they get. */
async function subscribers({ target, username, password, count, filter, qos, version }: Readers) {
  for (let i = 0; i < count; i++) {
    const clientId = `reader-${process.pid}-${i}`
    const client = await connectRaw(target, { clientId, username, password, version })
    client.onMessage = () => {
      received++
      for (const go of waiting.splice(0)) go()
    }
    if ((await client.subscribe(filter, qos)) === 128) throw new Error(`${filter} was refused`)
    readers.push(client)
  }
}

interface Telemetry {
  readonly count: number
  readonly window: number
  readonly qos: 0 | 1
  readonly retain: boolean
  readonly version: Version
}

const READING = JSON.stringify({ temperature: 21.5, humidity: 40, at: '2026-11-29T00:00:00.000Z' })

/**
 * Each limb publishes in its turn. At QoS 1 a message is answered by its PUBACK; at any QoS no subscriber is more than
 * the window behind. Returns when everybody has everything.
 */
async function telemetry({ count, window, qos, retain, version }: Telemetry) {
  const packets = limbs.map(({ name }) =>
    publishPacket(`limb/node/${name}/data/climate`, READING, qos, { version, retain }),
  )
  received = 0
  let sent = 0
  const behind = () => readers.length > 0 && received < (sent - window) * readers.length
  const caughtUp = async (done: () => boolean) => {
    while (!done()) {
      await new Promise<void>((resolve) => waiting.push(resolve))
    }
  }
  const work = async (mine: number) => {
    while (sent < count) {
      sent++
      const limb = limbs[mine]
      const packet = packets[mine]
      if (limb === undefined || packet === undefined) return
      if (qos === 1) await limb.client.publishBytes(packet, 1)
      else limb.client.publishUnanswered(packet)
      if (behind()) await caughtUp(() => !behind())
      // One lane at QoS 0, which sends for all in turn.
      if (qos === 0) mine = (mine + 1) % limbs.length
    }
  }
  const lanes = qos === 1 ? Math.min(window, limbs.length) : 1
  await Promise.all(Array.from({ length: lanes }, (_, i) => work(i)))
  await caughtUp(() => received >= sent * readers.length)
  return { sent }
}

let reader: RawClient | undefined

/** Signs in before anything is measured: a password costs the server some 60 ms. */
async function signIn(as: SignIn): Promise<void> {
  reader = await subscriber(as)
}

function signedIn(): RawClient {
  if (!reader) throw new Error('nobody has signed in')
  return reader
}

/** Subscribes and waits for `expected` messages. */
async function subscribeAll({ filter, expected }: { filter: string; expected: number }) {
  const client = signedIn()
  const started = performance.now()
  let seen = 0
  const all = new Promise<void>((resolve, reject) => {
    client.onMessage = () => {
      if (++seen === expected) resolve()
    }
    void client.closed.then(() => reject(new Error(`the subscriber was closed after ${seen} messages`)))
  })
  const granted = await client.subscribe(filter)
  if (granted === 128) throw new Error(`${filter} was refused`)
  await all
  return { wallMs: performance.now() - started, seen }
}

/** Subscribes to one limb's status after another, each time with its retained message, and unsubscribes. */
async function subscribeExact({ count, of }: { count: number; of: number }) {
  const client = signedIn()
  const started = performance.now()
  for (let i = 0; i < count; i++) {
    // A stride that visits the whole fleet instead of its first names.
    const topic = `limb/node/${limbName((i * 7919) % of).name}/status`
    const retained = new Promise<void>((resolve) => {
      client.onMessage = () => resolve()
    })
    await client.subscribe(topic)
    await retained
    await client.unsubscribe(topic)
  }
  return { wallMs: performance.now() - started }
}

async function disconnect(_: Record<string, never>): Promise<void> {
  const leaving = limbs
  limbs = []
  for (const { client } of leaving) client.end()
  for (const each of readers) each.end()
  readers = []
  reader?.end()
  reader = undefined
  await Promise.all(leaving.map(({ client }) => client.closed))
}

const commands = {
  connect,
  heartbeats,
  pair,
  comeBack,
  forget,
  signIn,
  subscribers,
  telemetry,
  subscribeAll,
  subscribeExact,
  disconnect,
}
export type GeneratorCommands = typeof commands

serveCommands(commands)
