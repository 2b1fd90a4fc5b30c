import { onTestFinished, vi } from 'vitest'
import { Core } from '../../src/bridge/core.ts'
import type { Identity, Session, Store } from '../../src/bridge/ports.ts'
import type { BridgeContext } from '../../src/bridge/settings.ts'
import { configSchema } from '../../src/host/config/schema.ts'
import { Refusal } from '../../src/kernel/errors.ts'
import { RunningClock } from '../../src/kernel/running-clock.ts'
import { topicsOf } from '../../src/protocol/topics.ts'
import { type Database, openDatabase } from '../../src/store/sqlite/database.ts'
import { createStore } from '../../src/store/sqlite/store.ts'
import { keyOf } from '../support/app.ts'
import { CHEAP_PASSWORDS } from '../support/cheap-passwords.ts'
import { FakeClock } from '../support/fake-clock.ts'

/** The core alone on a real store, which fails, or waits, when it is told. */

/** The defaults of the schema: a new setting is not written down here once more. */
const SETTINGS = configSchema.parse({})

export const full = () => Promise.reject(new Refusal('storage_unavailable', 'the disk is full'))
export const settled = () => new Promise((resolve) => setImmediate(resolve))

/** A session of a candidate; `hear` is told what it is sent. */
export function candidateOf(
  nodeId: string,
  hear = (_topic: string, _body: { status?: string }) => {},
): Session {
  return {
    identity: { kind: 'candidate', nodeId, key: keyOf(nodeId) },
    clientId: nodeId,
    address: '192.0.2.1',
    alive: true,
    subscribedTo: () => true,
    send: (topic, payload) => {
      hear(topic, JSON.parse(Buffer.from(payload).toString()))
      return true
    },
    end: () => {},
  }
}

/** `wrap` puts something between the store and its database, and `more` is what the bridge has beside. */
export async function start(
  wrap = (database: Database): Database => database,
  more: Partial<BridgeContext> = {},
) {
  const clock = new FakeClock()
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() }
  const database = openDatabase({ file: ':memory:', clock, log })
  onTestFinished(() => database.close())
  const real = createStore(wrap(database))
  const broken = { commits: false, after: false, ends: false }
  /** What the next reads and commits wait for, one each. */
  const held: { reads: Promise<void>[]; commits: Promise<void>[] } = { reads: [], commits: [] }
  const store: Store = {
    ...real,
    read: (work) => held.reads.shift()?.then(() => real.read(work)) ?? real.read(work),
    transact: (work) =>
      broken.commits
        ? full()
        : broken.ends
          ? real.transact((tx) => work(tx).then(full))
          : (held.commits.shift()?.then(() => real.transact(work)) ?? real.transact(work)),
  }
  const answers: { topic: string; body: Record<string, unknown> }[] = []
  const events: string[] = []
  const cleared = vi.fn()
  const forgotten = vi.fn()
  const context: BridgeContext = {
    clock,
    running: new RunningClock(clock),
    log,
    store,
    counters: { count() {}, took() {} },
    topics: topicsOf('limb'),
    passwordCost: CHEAP_PASSWORDS,
    settings: {
      version: '0',
      ...SETTINGS,
      pairing: { ...SETTINGS.pairing, pendingSeconds: 60, rejectedSeconds: 60, maxPending: 10 },
      invocation: { ...SETTINGS.invocation, maxWaiting: 10, maxKeysPerPrincipal: 10 },
      // No chore of its own.
      backup: { ...SETTINGS.backup, everyHours: 0 },
      signIn: SETTINGS.mqtt,
      turns: SETTINGS.mqtt,
    },
    publisher: {
      isBehind: false,
      publish(topic, payload) {
        const text = Buffer.from(payload).toString()
        if (topic.includes('/event/')) events.push(JSON.parse(text).kind)
        if (topic.includes('/response/')) answers.push({ topic, body: JSON.parse(text) })
      },
      mayPublish: () => true,
      async *retained() {},
      clearRetainedOf: async (nodeId) => (broken.after ? full() : cleared(nodeId)),
    },
    sessions: {
      forget: async (name) => (broken.after ? full() : forgotten(name)),
      list: () => [],
      forgetOne: async () => false,
    },
    backups: {
      create: full,
      isUnderWay: false,
      isStopping: false,
      prune: async () => ({ kept: 0, bytes: 0, beyondBytes: 0 }),
      newestAt: async () => undefined,
      list: async () => [],
    },
    system: { checks: async () => [], logLines: () => [] },
    upkeep: {
      sweepSessions: async () => 0,
      nextWithData: async () => undefined,
    },
    health: () => ({ ready: true, reasons: [], warnings: [], uplinks: [] }),
    ...more,
  }
  const core = new Core(context)
  await core.load()
  core.opening()
  core.ready()
  onTestFinished(() => core.stop())
  const identity: Identity = { kind: 'principal', name: 'admin', role: 'admin', local: true }
  const session: Session = {
    identity,
    clientId: 'admin',
    address: 'local',
    alive: true,
    subscribedTo: () => true,
    send: () => true,
    end: () => {},
  }
  const ask = async (verb: string, args: object) => {
    const address = { kind: 'request', principal: 'admin', verb } as const
    await core.message(session, address, Buffer.from(JSON.stringify(args)))
    return answers.at(-1)?.body
  }
  /** Has a device connect as a candidate and register; `hear` is told what it is sent. */
  const register = async (nodeId: string, hear?: Parameters<typeof candidateOf>[1]): Promise<Session> => {
    const candidate = candidateOf(nodeId, hear)
    core.opened(candidate)
    const registration = { displayName: 'Cam', platform: 'esp32', capabilities: [] }
    const address = { kind: 'node', nodeId, leaf: 'register' } as const
    await core.message(candidate, address, Buffer.from(JSON.stringify(registration)))
    return candidate
  }
  return { context, core, clock, log, broken, register, held, ask, events, cleared, forgotten }
}
