import { isName } from '../protocol/names.ts'
import type { DecodedRegistration } from '../protocol/schemas.ts'
import { registrationSchema } from '../protocol/schemas.ts'
import type { Topics } from '../protocol/topics.ts'
import type { DoorConnection } from './door.ts'
import type { Packet, SeenConnect, SeenPublish } from './packets.ts'
import type { Report } from './report.ts'
import { parsed, problemInProperty } from './values.ts'

/** Keeps what has been seen of the device, and the clauses that a look at one packet decides. */

const MANY_REGISTERS = 5
const MAX_RESULTS = 1000
const MAX_KEPT_CONNECTIONS = 1000
const KEY_CHARS = { min: 20, max: 256 }
const KEEPALIVE = { min: 10, max: 300 }

/** One connection of the device, as far as it has come. Times are monotonic milliseconds. */
export interface SeenConnection {
  readonly connection: DoorConnection
  readonly connect: SeenConnect
  /** The CONNACK's code; undefined until it came. */
  connack: number | undefined
  pairingSubscribed: boolean
  registers: number
  pending: boolean
  approvedAt: number | undefined
  /** The interval that the answer `approved` asked for. */
  heartbeatSeconds: number
  heartbeats: number[]
  closedAt: number | undefined
  /** The most bytes that an answer on `pairing` had. */
  largestAnswer: number
}

export interface SeenResult {
  readonly invocationId: string
  readonly text: string
  readonly success: unknown
}

export class Device {
  nodeId: string | undefined
  readonly connections: SeenConnection[] = []
  /** The times at which somebody connected while nobody was let in. */
  turnedAwayAt: number[] = []
  arrivals = 0
  registration: DecodedRegistration | undefined
  invokeSubscribed = false
  /** The bridge answered a `register` with an error. */
  registerRefused = false
  /** The answer to the last who came over HTTP and was turned away. */
  refusedOverHttp: string | undefined
  /** The key that the bridge told, if it made one. */
  receivedKey: string | undefined
  readonly results: SeenResult[] = []
  /** The newest message on `invoke`, as it was sent. */
  lastInvoke: Buffer | undefined
  readonly #topics: Topics
  readonly #report: Report
  readonly #now: () => number
  readonly #filters = new Map<number, readonly string[]>()
  readonly #valuesSeen = new Set<string>()

  constructor(topics: Topics, report: Report, now: () => number, nodeId: string | undefined) {
    this.#topics = topics
    this.#report = report
    this.#now = now
    this.nodeId = nodeId
  }

  /** The connection of now; undefined while there is none. */
  get live(): SeenConnection | undefined {
    const last = this.connections.at(-1)
    return last?.closedAt === undefined ? last : undefined
  }

  topic(leaf: Parameters<Topics['node']>[1]): string {
    return this.#topics.node(this.nodeId ?? '', leaf)
  }

  arrived(turnedAway: boolean): void {
    this.arrivals++
    if (turnedAway) this.turnedAwayAt.push(this.#now())
  }

  closed(connection: DoorConnection): void {
    const seen = this.#seenOf(connection)
    if (seen) seen.closedAt = this.#now()
  }

  fromDevice(connection: DoorConnection, packet: Packet): void {
    if (packet.kind === 'connect') this.#connected(connection, packet)
    const seen = this.#seenOf(connection)
    if (!seen) return
    if (packet.kind === 'subscribe') this.#subscribed(seen, packet)
    if (packet.kind === 'publish') this.#published(seen, packet)
  }

  toDevice(connection: DoorConnection, packet: Packet): void {
    const seen = this.#seenOf(connection)
    if (!seen) return
    if (packet.kind === 'connack') seen.connack = packet.code
    if (packet.kind === 'suback') this.#granted(packet.id, packet.codes)
    if (packet.kind !== 'publish') return
    if (packet.topic === this.topic('invoke')) this.lastInvoke = Buffer.from(packet.payload)
    if (packet.topic === this.topic('pairing')) this.#answered(seen, packet.payload)
  }

  #seenOf(connection: DoorConnection): SeenConnection | undefined {
    return this.connections.findLast((seen) => seen.connection === connection)
  }

  #connected(connection: DoorConnection, connect: SeenConnect): void {
    const { user = '', clientId } = connect
    if (this.nodeId === undefined && !isName(user)) {
      this.#report.broken(
        'connect.name',
        user === ''
          ? `connected without a user name (client id ${JSON.stringify(clientId)}); the user name must be the nodeId`
          : `the user name ${JSON.stringify(user)} is no nodeId: use letters, digits, "_" and "-"`,
      )
      return
    }
    this.nodeId ??= user
    if (user !== this.nodeId) return
    this.#report.holds('connect.name')
    this.#looksAt(connect)
    if (this.connections.length >= MAX_KEPT_CONNECTIONS) this.connections.shift()
    this.connections.push({
      connection,
      connect,
      connack: undefined,
      pairingSubscribed: false,
      registers: 0,
      pending: false,
      approvedAt: undefined,
      heartbeatSeconds: 0,
      heartbeats: [],
      closedAt: undefined,
      largestAnswer: 0,
    })
  }

  #looksAt({ clientId, key, keepalive }: SeenConnect): void {
    const report = this.#report
    if (clientId === this.nodeId) report.holds('connect.client-id')
    else report.broken('connect.client-id', `the client id is ${JSON.stringify(clientId)}`)
    if (keepalive >= KEEPALIVE.min && keepalive <= KEEPALIVE.max) report.holds('connect.keepalive')
    else report.broken('connect.keepalive', `the keepalive is ${keepalive} seconds`)
    this.#looksAtKey(key)
  }

  #looksAtKey(key: string | undefined): void {
    const report = this.#report
    const before = this.connections.at(-1)?.connect.key
    const length = key?.length ?? 0
    if (key !== undefined && (length < KEY_CHARS.min || length > KEY_CHARS.max))
      report.broken('connect.key', `its key has ${length} characters`)
    else if (key !== undefined && new Set(key).size < 8)
      report.broken(
        'connect.key',
        'its key has fewer than eight different characters, so it is not made at random',
      )
    else if (key !== undefined) report.holds('connect.key')
    else if (this.receivedKey !== undefined)
      report.broken('connect.key', 'came back without the key that it was told on `pairing` (`apiKey`)')
    if (this.connections.length === 0) return
    const expected = [before, this.receivedKey].filter((each) => each !== undefined)
    if (expected.length === 0) return
    if (key !== undefined && expected.includes(key)) report.holds('connect.same-key')
    else
      report.broken(
        'connect.same-key',
        'came back with another key than before: store the key, do not make it at each start',
      )
  }

  #subscribed(seen: SeenConnection, { id, filters }: Extract<Packet, { kind: 'subscribe' }>): void {
    if (this.#filters.size < MAX_RESULTS)
      this.#filters.set(
        id,
        filters.map(({ filter }) => filter),
      )
    for (const { filter, qos } of filters) {
      if (filter === this.topic('pairing')) seen.pairingSubscribed = true
      if (filter === this.topic('invoke')) this.invokeSubscribed = true
      if (filter !== this.topic('pairing') && filter !== this.topic('invoke')) continue
      if (qos > 0) this.#report.holds('invoke.qos')
      else this.#report.broken('invoke.qos', `subscribed to ${filter} at QoS 0, where a message can be lost`)
    }
  }

  #granted(id: number, codes: readonly number[]): void {
    const filters = this.#filters.get(id) ?? []
    this.#filters.delete(id)
    codes.forEach((code, i) => {
      if (code < 0x80) this.#report.holds('subscribe.own')
      else this.#report.broken('subscribe.own', `may not subscribe to ${JSON.stringify(filters[i] ?? '?')}`)
    })
  }

  #published(seen: SeenConnection, packet: SeenPublish): void {
    const address = this.#topics.parse(packet.topic)
    const isOwn = address !== undefined && 'nodeId' in address && address.nodeId === this.nodeId
    if (!isOwn) {
      this.#report.broken('publish.own', `published on ${JSON.stringify(packet.topic)}, which is dropped`)
      return
    }
    if (address.kind === 'data') this.#value(`data/${address.path}`, packet)
    else if (address.leaf === 'register') this.#registered(seen, packet)
    else if (address.leaf === 'heartbeat') this.#heartbeat(seen, packet)
    else if (address.leaf === 'result') this.#result(packet)
    else if (address.leaf !== 'deregister') {
      this.#report.broken(
        'publish.own',
        `published on ${JSON.stringify(packet.topic)}, which is the bridge's`,
      )
      return
    }
    this.#report.holds('publish.own')
  }

  #registered(seen: SeenConnection, { payload, qos, retain }: SeenPublish): void {
    const report = this.#report
    seen.registers++
    if (seen.pairingSubscribed) report.holds('subscribe.first')
    else report.broken('subscribe.first', 'registered before it subscribed to `pairing`')
    if (seen.registers > MANY_REGISTERS)
      report.broken(
        'register.once',
        `registered ${seen.registers} times on one connection: wait for the answer`,
      )
    else report.holds('register.once')
    if (qos > 0 && !retain) report.holds('register.qos')
    else
      report.broken(
        'register.qos',
        retain ? '`register` was retained' : '`register` was sent at QoS 0, where it can be lost',
      )
    const decoded = registrationSchema.safeParse(parsed(payload.toString('utf8')))
    if (decoded.success) this.registration = decoded.data
  }

  #heartbeat(seen: SeenConnection, { retain }: SeenPublish): void {
    seen.heartbeats.push(this.#now())
    if (seen.heartbeats.length > MAX_RESULTS) seen.heartbeats.shift()
    if (retain) this.#report.broken('heartbeat.retained', 'a heartbeat was retained')
    else this.#report.holds('heartbeat.retained')
  }

  #result({ payload, qos, retain }: SeenPublish): void {
    const text = payload.toString('utf8')
    const json = parsed(text) as { invocationId?: unknown; success?: unknown } | undefined
    if (qos > 0 && !retain) this.#report.holds('invoke.result-qos')
    else
      this.#report.broken(
        'invoke.result-qos',
        retain ? '`result` was retained' : '`result` was sent at QoS 0, where it can be lost',
      )
    if (typeof json !== 'object' || json === null || typeof json.invocationId !== 'string') {
      this.#report.broken('invoke.result', `a result without an invocationId, or no JSON: ${clipped(text)}`)
      return
    }
    if (this.results.length < MAX_RESULTS)
      this.results.push({ invocationId: json.invocationId, text, success: json.success })
  }

  #value(topic: string, { payload }: SeenPublish): void {
    for (const property of this.registration?.described?.properties ?? []) {
      // An empty payload takes a retained value back.
      if (property.topic !== topic || payload.length === 0) continue
      this.#valuesSeen.add(property.name)
      const problem = problemInProperty(property, payload)
      if (problem === undefined) this.#report.holds('data.described')
      else
        this.#report.broken(
          'data.described',
          `${property.name}: ${problem} (${clipped(payload.toString('utf8'))})`,
        )
    }
  }

  /** Returns the described properties of which no value was published. */
  unseenProperties(): readonly string[] {
    const all = this.registration?.described?.properties ?? []
    return all.map(({ name }) => name).filter((name) => !this.#valuesSeen.has(name))
  }

  #answered(seen: SeenConnection, payload: Buffer): void {
    const answer = parsed(payload.toString('utf8')) as Answer | undefined
    seen.largestAnswer = Math.max(seen.largestAnswer, payload.length)
    if (answer?.apiKey !== undefined) this.receivedKey = answer.apiKey
    if (answer?.status === 'pending') seen.pending = true
    if (answer?.status === 'approved') {
      seen.approvedAt = this.#now()
      seen.heartbeatSeconds = answer.heartbeatSeconds ?? 0
    }
    if (answer?.status === 'error') this.#refused(seen, answer)
    else if (seen.registers > 0) this.#report.holds('register.valid')
  }

  #refused(seen: SeenConnection, { error }: Answer): void {
    const text = `${error?.path === undefined ? '' : `${error.path}: `}${error?.message ?? 'refused'}`
    const isHeartbeat = seen.approvedAt !== undefined && seen.heartbeats.length > 0
    if (!isHeartbeat) this.registerRefused = true
    this.#report.broken(isHeartbeat ? 'heartbeat.valid' : 'register.valid', text)
  }
}

interface Answer {
  readonly status?: string
  readonly apiKey?: string
  readonly heartbeatSeconds?: number
  readonly error?: { readonly message?: string; readonly path?: string }
}

export function clipped(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text
}
