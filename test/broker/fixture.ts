import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import type {
  Authentication,
  Credentials,
  Identity,
  Inbound,
  Log,
  RefusedConnect,
  Session,
  SessionEnd,
} from '../../src/bridge/ports.ts'
import { type Broker, type BrokerOptions, createBroker } from '../../src/broker/broker.ts'
import { createPersistence } from '../../src/broker/persistence/persistence.ts'
import { configSchema } from '../../src/host/config/schema.ts'
import { systemClock } from '../../src/kernel/clock.ts'
import { ROLES, type Role } from '../../src/protocol/names.ts'
import { type Address, topicsOf } from '../../src/protocol/topics.ts'
import { openDatabase } from '../../src/store/sqlite/database.ts'
import { createMqttStore } from '../../src/store/sqlite/mqtt/store.ts'
import { LIMITS, viewOf } from './persistence-fixture.ts'
import { type Connect, connectPacket, dial, type WireClient } from './wire.ts'

export const topics = topicsOf('limb')

/** What the core was told, in order. */
export type Event =
  | { kind: 'opened'; session: Session }
  | { kind: 'closed'; session: Session; why: SessionEnd }
  | { kind: 'subscribed'; session: Session }
  | { kind: 'heartbeat'; session: Session; payload: string }
  | { kind: 'message'; session: Session; address: Address; payload: string }

/**
 * A core that follows a script. Names of roles are principals with that role; `cam…` with the password `key` is
 * a limb; the password `wrong` is refused with 4; anybody else is a candidate.
 */
export class ScriptedCore implements Inbound {
  readonly events: Event[] = []
  readonly admitted: Credentials[] = []
  /** Runs before a message is taken. */
  onMessage: (session: Session, address: Address, payload: Uint8Array) => Promise<void> = async () => {}
  onAdmit: (credentials: Credentials) => Promise<Authentication | undefined> = async () => undefined
  onHeartbeat: (session: Session) => void = () => {}
  onSubscribed: (session: Session) => void = () => {}
  onClosed: (session: Session) => void = () => {}
  heartbeats = 0
  readonly refusals: RefusedConnect[] = []
  #waiting: (() => void)[] = []

  async admit(credentials: Credentials): Promise<Authentication> {
    this.admitted.push(credentials)
    const scripted = await this.onAdmit(credentials)
    if (scripted) return scripted
    const name = credentials.username ?? credentials.clientId
    if (credentials.local) return yes({ kind: 'principal', name: 'admin', role: 'admin', local: true })
    if (credentials.password === 'wrong') return { admitted: false, code: 4, reason: 'wrong password' }
    const role = name.replace(/\d+$/, '') as Role
    if (ROLES.includes(role)) return yes({ kind: 'principal', name, role, local: false })
    if (name.startsWith('cam') && credentials.password === 'key') return yes({ kind: 'limb', nodeId: name })
    return yes({ kind: 'candidate', nodeId: name, key: credentials.password })
  }

  refused(refusal: RefusedConnect): void {
    this.refusals.push(refusal)
  }

  opened(session: Session): void {
    this.#add({ kind: 'opened', session })
  }

  closed(session: Session, why: SessionEnd): void {
    this.onClosed(session)
    this.#add({ kind: 'closed', session, why })
  }

  subscribed(session: Session): void {
    this.onSubscribed(session)
    this.#add({ kind: 'subscribed', session })
  }

  active(): void {}

  heartbeat(session: Session, payload: Uint8Array): void {
    this.heartbeats++
    this.onHeartbeat(session)
    this.#add({ kind: 'heartbeat', session, payload: Buffer.from(payload).toString() })
  }

  async message(session: Session, address: Address, payload: Uint8Array): Promise<void> {
    await this.onMessage(session, address, payload)
    this.#add({ kind: 'message', session, address, payload: Buffer.from(payload).toString() })
  }

  all<K extends Event['kind']>(kind: K): Extract<Event, { kind: K }>[] {
    return this.events.filter((event): event is Extract<Event, { kind: K }> => event.kind === kind)
  }

  /** The first event, past or to come, that fits. */
  async until<K extends Event['kind']>(
    kind: K,
    fits: (event: Extract<Event, { kind: K }>) => boolean = () => true,
  ): Promise<Extract<Event, { kind: K }>> {
    for (;;) {
      const found = this.all(kind).find(fits)
      if (found) return found
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  #add(event: Event): void {
    this.events.push(event)
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }
}

function yes(identity: Identity): Authentication {
  return { admitted: true, identity }
}

export interface LogLine {
  readonly level: string
  readonly fields: Record<string, unknown>
  readonly message: string
}

export class MemoryLog implements Log {
  readonly lines: LogLine[] = []
  debug = this.#at('debug')
  info = this.#at('info')
  warn = this.#at('warn')
  error = this.#at('error')

  #at(level: string) {
    return (fields: object, message: string) => {
      this.lines.push({ level, fields: fields as Record<string, unknown>, message })
    }
  }

  of(level: string): LogLine[] {
    return this.lines.filter((line) => line.level === level)
  }
}

export interface Running {
  readonly broker: Broker
  readonly persistence: BrokerOptions['persistence']
  readonly core: ScriptedCore
  readonly log: MemoryLog
  readonly port: number
  /** Retained messages of the bridge's own; change them at will. */
  readonly owned: Map<string, string>
  /** Connects and signs in; fails unless CONNACK is 0. */
  connect(options?: Connect): Promise<WireClient>
  stop(): Promise<void>
}

const running: (() => Promise<void>)[] = []
const folders: string[] = []

afterEach(async () => {
  for (const stop of running.splice(0)) await stop()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

export function tempFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'limb-broker-'))
  folders.push(folder)
  return folder
}

/** The defaults of the configuration. */
const DEFAULTS = configSchema.parse({}).mqtt

export interface Start extends Partial<Omit<BrokerOptions, 'limits'>> {
  /** What differs from the defaults. */
  readonly limits?: Partial<BrokerOptions['limits']>
  /** Database file; memory unless told. */
  readonly file?: string
  readonly wrapPersistence?: (persistence: BrokerOptions['persistence']) => BrokerOptions['persistence']
}

/** A broker on an ephemeral port, with a real store and a scripted core; it stops when the test ends. */
export async function start(options: Start = {}): Promise<Running> {
  const { file = ':memory:', wrapPersistence = (each) => each, limits, ...rest } = options
  const core = new ScriptedCore()
  const log = new MemoryLog()
  const owned = new Map<string, string>()
  const view = viewOf(owned, (topic) => /^limb\/(bridge\/|node\/[^/]+\/(status|state)$)/.test(topic))
  const database = openDatabase({ file, clock: systemClock, log })
  const persistence = createPersistence({
    store: createMqttStore(database),
    view,
    clock: rest.clock ?? systemClock,
    log,
    limits: LIMITS,
    onDropped: () => {},
  })
  const broker = await createBroker({
    topics,
    inbound: core,
    persistence: wrapPersistence(persistence),
    view,
    clock: systemClock,
    log,
    limits: { ...DEFAULTS, ...limits },
    ...rest,
  })
  const { port } = await broker.listenTcp('127.0.0.1', 0)
  const clients: WireClient[] = []
  let stopped: Promise<void> | undefined
  const stop = () => {
    stopped ??= (async () => {
      for (const client of clients) client.socket.destroy()
      await broker.stop()
      await database.close()
    })()
    return stopped
  }
  running.push(stop)
  return {
    broker,
    persistence,
    core,
    log,
    port,
    owned,
    stop,
    async connect(connect = {}) {
      const client = await dial({ port })
      clients.push(client)
      client.send(connectPacket(connect))
      const { code } = await client.connack()
      if (code !== 0) throw new Error(`CONNACK ${code}`)
      return client
    },
  }
}

/** One turn of the event loop. */
export async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}

export { once }
