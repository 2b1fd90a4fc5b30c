import {
  type AdapterSettings,
  placeOfMessage,
  type ReadDevices,
  readingDevices,
  viaNodeId,
} from '../../adapters/adapters.ts'
import { registrationOf, withinLimits } from '../../domain/adapter.ts'
import { messageOf, Refusal } from '../../kernel/errors.ts'
import { escapeText } from '../../kernel/escape-text.ts'
import { LogThrottle } from '../../kernel/log-throttle.ts'
import { derivedKey } from '../../kernel/secrets.ts'
import { TurnTime } from '../../kernel/turn-time.ts'
import type { AdapterRecord } from '../../protocol/adapter.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { LiveLimb, Registry } from '../live/registry.ts'
import { nameOf, type SessionTable } from '../live/sessions.ts'
import type { Pairings } from '../pairing/pairings.ts'
import type { Session, SessionEnd } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import { Collected, CollectedBytes } from './collected.ts'
import { ForeignValues } from './values.ts'
import { ViaSession } from './via-session.ts'

/** Firmware announces itself in many messages: they are read together, so long after the first. */
const COLLECT_MS = 1000
/** The time of a turn of the event loop in which announcements are read, whoever's. */
const SLICE_MS = 5
/** A registration that was refused for a bound or a full disk is tried again so much later. */
const AGAIN_MS = 60_000
const LEFT_OUT = { quietMs: 60_000, lines: 3, maxKeys: 500, maxLines: 50 } as const
/** The things left out that one line names. */
const NAMED = 3

interface Parts {
  readonly registry: Registry
  readonly table: SessionTable
  readonly pairings: Pairings
  /** A session that the bridge itself holds has opened, and has closed. */
  readonly opened: (session: Session) => void
  readonly closed: (session: Session, why: SessionEnd) => void
}

/**
 * Makes limbs of firmware that was never made for the bridge: what it announces about itself becomes a registration,
 * which waits for an operator like any other. Devices behind one session are limbs of their own.
 */
export class ForeignFirmware {
  readonly values: ForeignValues
  readonly #context: BridgeContext
  readonly #settings: AdapterSettings
  readonly #parts: Parts
  readonly #collected = new Map<Session, Collected>()
  readonly #total = new CollectedBytes()
  /** The approved limbs behind each limb. */
  readonly #behind = new Map<string, Set<string>>()
  readonly #throttle: LogThrottle
  readonly #time: TurnTime
  #stopped = false

  constructor(context: BridgeContext, parts: Parts) {
    this.#context = context
    this.#settings = context.settings.adapters
    this.#parts = parts
    this.values = new ForeignValues(context)
    this.#throttle = new LogThrottle(context.clock, LEFT_OUT)
    this.#time = new TurnTime(context.clock, SLICE_MS)
  }

  /** Takes a message about itself of a limb, or of a candidate. False: it is another message, or of somebody else. */
  discovered(session: Session, topic: string, payload: Uint8Array): boolean {
    if (session.identity.kind === 'principal' || this.#stopped) return false
    const place = placeOfMessage(this.#settings, topic)
    if (place === undefined) return false
    const collected = this.#of(session, session.identity.nodeId)
    if (!collected.put(place, payload)) {
      this.#context.counters.count('discovery_messages', 'no_room')
      this.#log(collected.nodeId, 'announces more of itself than is kept; the rest is not read')
      return true
    }
    this.#context.counters.count('discovery_messages', 'taken')
    collected.cancelFlush ??= this.#context.clock.after(COLLECT_MS, () => this.#flushSoon(collected))
    return true
  }

  /** The session of a limb has opened. */
  opened(session: Session): void {
    if (session.identity.kind !== 'limb' || session instanceof ViaSession) return
    const { nodeId } = session.identity
    const behind = this.#behind.get(nodeId)
    if (behind !== undefined) {
      const collected = this.#of(session, nodeId)
      for (const each of behind) this.#openVia(collected, each)
    }
    this.#prime(nodeId)
  }

  /** Firmware that was told that Home Assistant has started announces itself anew. */
  subscribed(session: Session): void {
    const { homeAssistant, homeAssistantPrefix: prefix } = this.#settings
    if (!homeAssistant || session.identity.kind !== 'limb' || session instanceof ViaSession) return
    const topic = `${prefix}/status`
    if (!session.subscribedTo(topic)) return
    const collected = this.#of(session, session.identity.nodeId)
    if (collected.greeted) return
    collected.greeted = true
    session.send(topic, Buffer.from('online'))
  }

  closed(session: Session, why: SessionEnd): void {
    const collected = this.#collected.get(session)
    if (collected === undefined) return
    this.#collected.delete(session)
    collected.end()
    for (const each of [...collected.via.values()]) each.end(why)
  }

  /** The row of a limb that has an adapter is new or another one; undefined: it is gone. */
  changed(nodeId: string, limb: LiveLimb | undefined, before: AdapterRecord | undefined): void {
    this.values.watch(nodeId, limb?.record)
    if (before?.via !== undefined) this.#behind.get(before.via)?.delete(nodeId)
    const via = limb?.record.adapter?.via
    if (via !== undefined) {
      const known = this.#behind.get(via)
      if (known) known.add(nodeId)
      else this.#behind.set(via, new Set([nodeId]))
    }
    // What is kept counts only while somebody is there who would say otherwise.
    if (limb && this.#parts.table.limb(via ?? nodeId) !== undefined) this.#prime(nodeId)
  }

  stop(): void {
    this.#stopped = true
    this.#throttle.stop()
    for (const collected of this.#collected.values()) collected.end()
    this.#collected.clear()
  }

  #of(session: Session, nodeId: string): Collected {
    const known = this.#collected.get(session)
    // A candidate that is a limb by now may have more room.
    if (known !== undefined) return known
    const made = new Collected(session, nodeId, this.#total)
    this.#collected.set(session, made)
    return made
  }

  #flushSoon(collected: Collected): void {
    collected.cancelFlush?.()
    collected.cancelFlush = undefined
    const before = collected.flushing ?? Promise.resolve()
    collected.flushing = before
      .then(() => this.#flush(collected))
      .catch((error: unknown) => {
        const { nodeId } = collected
        this.#context.log.error(
          { nodeId, error: messageOf(error) },
          'what a limb announced could not be stored',
        )
      })
  }

  async #flush(collected: Collected): Promise<void> {
    const { session, nodeId } = collected
    if (!session.alive || this.#stopped) return
    const read = await this.#read(collected)
    this.#logLeftOut(nodeId, read.leftOut)
    for (const record of read.records) {
      await this.#turn()
      if (!session.alive || this.#stopped) return
      if (record.via === undefined) await this.#registerOwn(collected, record)
      else if (session.identity.kind === 'limb') await this.#registerVia(collected, record)
    }
  }

  async #read({ nodeId, messages, seen }: Collected): Promise<ReadDevices> {
    const steps = readingDevices({
      nodeId,
      messages,
      seen,
      known: (id) => this.#parts.registry.get(id)?.record.adapter ?? undefined,
      mayPublish: (topic) => this.#context.publisher.mayPublish(nodeId, topic),
    })
    for (;;) {
      await this.#turn()
      const step = steps.next()
      if (step.done) return step.value
    }
  }

  async #turn(): Promise<void> {
    if (!this.#time.isLeft) await this.#time.next()
  }

  async #registerOwn(collected: Collected, record: AdapterRecord): Promise<void> {
    const { session, nodeId } = collected
    const { identity } = session
    if (identity.kind === 'principal') return
    const isLimb = identity.kind === 'limb'
    // A key that the bridge made could be told to nobody here.
    if (!isLimb && identity.key === undefined) {
      this.#log(
        nodeId,
        `announces itself without a password; set one of ${LIMITS.keyCharsMin} characters in its firmware`,
      )
      return
    }
    const most = isLimb ? LIMITS.adapterBytes : LIMITS.candidateRegistrationBytes
    const fitting = withinLimits(record, most)
    if (!this.#isNews(collected, nodeId, fitting)) return
    const registration = registrationOf(fitting)
    await this.#answered(collected, session, async () => {
      if (isLimb) await this.#parts.pairings.reregister(session, nodeId, registration)
      else await this.#parts.pairings.claim(session, nodeId, identity.key, registration)
    })
  }

  async #registerVia(collected: Collected, record: AdapterRecord): Promise<void> {
    const gateway = collected.nodeId
    const nodeId = viaNodeId(gateway, record.device)
    const limb = this.#parts.registry.get(nodeId)
    if (limb !== undefined && limb.record.adapter?.via !== gateway) {
      this.#log(
        gateway,
        `announces a device that would be ${nodeId}, which is another limb; rename one of them`,
      )
      return
    }
    if (collected.via.get(nodeId) === undefined && collected.via.size >= this.#settings.maxDevicesPerLimb) {
      this.#log(gateway, `announces more devices than adapters.maxDevicesPerLimb (${collected.via.size})`)
      return
    }
    const fitting = withinLimits(record, LIMITS.adapterBytes)
    const isNews = this.#isNews(collected, nodeId, fitting)
    if (limb !== undefined) {
      const session = this.#openVia(collected, nodeId)
      if (isNews) {
        await this.#answered(collected, session, () =>
          this.#parts.pairings.reregister(session, nodeId, registrationOf(fitting)),
        )
      }
      return
    }
    if (!isNews) return
    const key = derivedKey(this.#master(), 'via', gateway, nodeId)
    const session = this.#via(collected, nodeId, { kind: 'candidate', nodeId, key })
    await this.#answered(collected, session, () =>
      this.#parts.pairings.claim(session, nodeId, key, registrationOf(fitting)),
    )
  }

  #master(): Uint8Array {
    return this.#context.invokeOverHttp?.master ?? NO_MASTER
  }

  /** Registers what is another thing than the last time, or than what is stored. */
  #isNews({ registered }: Collected, nodeId: string, record: AdapterRecord): boolean {
    const text = JSON.stringify(record)
    if (registered.get(nodeId) === text) return false
    registered.set(nodeId, text)
    const stored = this.#parts.registry.get(nodeId)?.record.adapter
    return JSON.stringify(stored) !== text
  }

  async #answered(collected: Collected, session: Session, work: () => Promise<void>): Promise<void> {
    this.#context.counters.count('registrations')
    try {
      await work()
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.#parts.pairings.refuse(session, error)
      if (PASSES.has(error.code)) this.#again(collected, nameOf(session))
    }
  }

  /** Firmware says it once, and hears no refusal: the bridge itself comes back to it. */
  #again(collected: Collected, nodeId: string): void {
    collected.registered.delete(nodeId)
    if (this.#stopped || !collected.session.alive) return
    collected.cancelAgain ??= this.#context.clock.after(AGAIN_MS, () => {
      collected.cancelAgain = undefined
      this.#flushSoon(collected)
    })
  }

  #openVia(collected: Collected, nodeId: string): ViaSession {
    const known = collected.via.get(nodeId)
    if (known?.alive && known.identity.kind === 'limb') return known
    return this.#via(collected, nodeId, { kind: 'limb', nodeId })
  }

  #via(collected: Collected, nodeId: string, identity: Session['identity']): ViaSession {
    const known = collected.via.get(nodeId)
    if (known?.alive) return known
    const session: ViaSession = new ViaSession(identity, collected.session, (why) => {
      if (collected.via.get(nodeId) === session) collected.via.delete(nodeId)
      this.#parts.closed(session, why)
    })
    collected.via.set(nodeId, session)
    this.#parts.opened(session)
    if (identity.kind === 'limb') this.#prime(nodeId)
    return session
  }

  /** Reads what is kept on the topics of a limb that has come, or that has new ones. */
  #prime(nodeId: string): void {
    const topics = [...this.values.topicsOf(nodeId)]
    if (topics.length === 0) return
    void this.#readKept(topics).catch((error: unknown) =>
      this.#context.log.debug(
        { nodeId, error: messageOf(error) },
        'kept messages of a limb could not be read',
      ),
    )
  }

  async #readKept(topics: readonly string[]): Promise<void> {
    for (const topic of topics) {
      for await (const { payload } of this.#context.publisher.retained(topic)) {
        if (this.#stopped) return
        this.values.heard(topic, payload)
      }
    }
  }

  #logLeftOut(nodeId: string, leftOut: ReadDevices['leftOut']): void {
    if (leftOut.length === 0) return
    for (const _ of leftOut) this.#context.counters.count('discovery_messages', 'left_out')
    const named = leftOut.slice(0, NAMED).map(({ key, why }) => `${escapeText(key)}: ${escapeText(why)}`)
    const more = leftOut.length > NAMED ? `, and ${leftOut.length - NAMED} more` : ''
    this.#log(nodeId, `announces what is left out: ${named.join('; ')}${more}`)
  }

  #log(nodeId: string, what: string): void {
    this.#throttle.write(nodeId, (suppressed) =>
      this.#context.log.warn({ nodeId, suppressed }, `${nodeId} ${what}`),
    )
  }
}

/** The codes of refusals that pass by themselves. */
const PASSES: ReadonlySet<string> = new Set(['too_many_requests', 'storage_unavailable'])

const NO_MASTER = new Uint8Array(32)
