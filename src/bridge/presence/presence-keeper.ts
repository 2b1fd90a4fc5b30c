import {
  activitySeen,
  availabilityChanged,
  bridgeStopped,
  connectionLost,
  deadlinePassed,
  heartbeatReceived,
  newPresence,
  type PresenceChange,
  probeAnswered,
  sessionOpened,
  signedOff,
  sleepsOn,
  wentOffline,
} from '../../domain/presence.ts'
import type { NodeRecord } from '../../domain/records.ts'
import { plusMs } from '../../kernel/clock.ts'
import { Deadlines } from '../../kernel/deadline-timer.ts'
import { messageOf, type Refusal } from '../../kernel/errors.ts'
import type { SteadyMs } from '../../kernel/steady-clock.ts'
import { encodeJson } from '../../protocol/encode.ts'
import { decodeHeartbeat, type PartlyUsable, tooLargeHeartbeat } from '../../protocol/heartbeat.ts'
import { isReportedStatus, type NodeStatus, type StatusReason } from '../../protocol/names.ts'
import type { Heartbeat } from '../../protocol/schemas.ts'
import type { Announcer } from '../live/announcer.ts'
import { type LiveLimb, newLimb, type Registry } from '../live/registry.ts'
import type { Session } from '../ports.ts'
import { type BridgeContext, intervalsOf } from '../settings.ts'
import { AvailabilityTopics, presenceRuleOf } from './availability.ts'
import type { History } from './history.ts'
import { Probes } from './probes.ts'
import { StateRefresh, stateRefreshMs } from './state-refresh.ts'
import { StatusPace } from './status-pace.ts'

/** Deadlines this close together are handled in one sweep. */
const SWEEP_MIN_DELAY_MS = 50
/**
 * Faults of a limb's heartbeats are published once a minute: enough to find the bug in a firmware, too little to fill
 * a disk.
 */
const COMPLAIN_MS = 60_000
/** The same again (a sensor without a value, all day) is told so much later. */
const COMPLAIN_AGAIN_MS = 3_600_000
/** Longer payloads are no word of availability. */
const MAX_AVAILABILITY_BYTES = 256
/** Limbs in one write of `lastHeartbeatAt`, so that no write stalls the event loop. */
const SAVE_BATCH = 5000

/** Keeps every limb's presence: heartbeats in, one timer for all deadlines, changes out to the announcer. */
export class PresenceKeeper {
  readonly #context: BridgeContext
  readonly #registry: Registry
  readonly #announcer: Announcer
  readonly #history: History
  readonly #refresh: StateRefresh
  readonly #pace: StatusPace
  readonly #availability: AvailabilityTopics
  readonly #probes: Probes
  readonly #deadlines: Deadlines<LiveLimb>
  #unsaved: LiveLimb[] = []
  #cancelSave: (() => void) | undefined
  #stopped = false

  constructor(context: BridgeContext, registry: Registry, announcer: Announcer, history: History) {
    this.#context = context
    this.#registry = registry
    this.#announcer = announcer
    this.#history = history
    this.#availability = new AvailabilityTopics(context.topics)
    this.#deadlines = new Deadlines(context.clock, (limb) => this.#silent(limb), {
      minDelayMs: SWEEP_MIN_DELAY_MS,
      stoodStill: (lateMs) =>
        context.log.warn(
          { lateMs: Math.round(lateMs) },
          'the process stood still; giving limbs time to be heard',
        ),
    })
    this.#probes = new Probes(context, (limb, body) => this.#answeredProbe(limb, body))
    this.#refresh = new StateRefresh(context, registry, announcer)
    this.#pace = new StatusPace({
      clock: context.clock,
      changesPerSecond: () => context.settings.presence.maxChangesPerSecond,
      publish: (limb, published) => this.#publish(limb, published),
      flaps: (limb, heldBack) => this.#reportFlapping(limb, heldBack),
    })
  }

  /**
   * Brings an approved node into memory as offline: at the start, and when it is approved, which the caller announces.
   * `address`: where it asked from, when that is known better than by its record.
   */
  add(record: NodeRecord, reason: StatusReason, address = record.registeredFrom ?? undefined): LiveLimb {
    const { clock, running, settings } = this.#context
    const timeoutMs = intervalsOf(settings, record).timeoutSeconds * 1000
    const rule = presenceRuleOf(record)
    const now = running.steady.now()
    const limb = newLimb(record, newPresence(reason, now, timeoutMs, rule, lastHeardOf(record)), address)
    if (reason === 'bridge_restart') sleepsOn(limb, now, clock.monotonicMs())
    this.#registry.add(limb)
    this.#availability.watch(record.nodeId, rule.topic)
    if (limb.status === 'asleep') this.#deadlines.follow(limb)
    this.#probes.watch(limb)
    return limb
  }

  /** The row of a limb has changed; its presence goes on. */
  update(limb: LiveLimb, record: NodeRecord): void {
    const before = limb.record
    this.#registry.replace(limb, record)
    if (describesAnew(before, record)) this.#announcer.description(limb)
    const { clock, settings } = this.#context
    const timeoutMs = intervalsOf(settings, record).timeoutSeconds * 1000
    const rule = presenceRuleOf(record)
    const sameRule = JSON.stringify(rule) === JSON.stringify(limb.rule)
    if (timeoutMs === limb.timeoutMs && sameRule) {
      if (before.endpointUrl !== record.endpointUrl) this.#probes.watch(limb)
      return
    }
    limb.timeoutMs = timeoutMs
    limb.rule = rule
    this.#probes.watch(limb)
    this.#availability.watch(record.nodeId, rule.topic)
    // Whoever is lost has the grace and no more, whatever it asked for last.
    if (limb.status !== 'offline' && !limb.lost) {
      limb.deadline = rule.mode === 'connection' ? Number.POSITIVE_INFINITY : clock.monotonicMs() + timeoutMs
      this.#deadlines.follow(limb)
    }
    // A limb that is connected by now has shown all that this mode asks for.
    if (!sameRule && limb.session !== undefined) this.#afterOpening(limb, limb.session)
  }

  remove(nodeId: string): void {
    const limb = this.#registry.get(nodeId)
    if (!limb) return
    limb.deadline = Number.POSITIVE_INFINITY
    limb.session = undefined
    this.#availability.watch(nodeId, undefined)
    this.#probes.forget(nodeId)
    this.#pace.forget(limb)
    this.#registry.delete(nodeId)
  }

  opened(session: Session, nodeId: string): void {
    const limb = this.#registry.get(nodeId)
    if (!limb) return
    limb.address = session.address
    this.#afterOpening(limb, session)
    // Whoever has just come is there: it need not wait for its turn.
    if (limb.status === 'offline') this.#probes.watch(limb)
  }

  #afterOpening(limb: LiveLimb, session: object): void {
    const before = limb.status
    const change = sessionOpened(limb, session, this.#context.running.steady.now())
    if (change === 'none') return
    if (!limb.unsaved) this.#markUnsaved(limb)
    this.#changed(limb, before, change)
  }

  /** Returns whether `active` must be called for what this limb publishes. */
  watchesActivity(nodeId: string): boolean {
    const mode = this.#registry.get(nodeId)?.rule.mode
    return mode === 'activity' || mode === 'sleepy'
  }

  /** A limb has published something else than a heartbeat. */
  active(session: Session): void {
    const limb = this.#limbOf(session)
    if (!limb) return
    const { clock, running } = this.#context
    const now = clock.monotonicMs()
    const before = limb.status
    const change = activitySeen(limb, session, running.steady.at(now), now)
    if (limb.deadline < limb.scheduledAt) this.#deadlines.follow(limb)
    if (!limb.unsaved && limb.heardSinceState) this.#markUnsaved(limb)
    if (change !== 'none') this.#changed(limb, before, change)
  }

  /** Something was published; some limbs say with a topic of their own whether they are there. Total and quick. */
  published(topic: string, payload: Uint8Array): void {
    const nodeId = this.#availability.ownerOf(topic)
    const limb = nodeId === undefined ? undefined : this.#registry.get(nodeId)
    if (!limb || payload.length > MAX_AVAILABILITY_BYTES) return
    const word = Buffer.from(payload).toString()
    const { online, offline } = limb.rule
    if (word !== online && word !== offline) return
    const before = limb.status
    const change = availabilityChanged(limb, word === online, this.#context.running.steady.now())
    if (change !== 'none') this.#changed(limb, before, change)
  }

  /** The main path: decide, and only when something changed, publish. */
  heartbeat(session: Session, payload: Uint8Array): void {
    const limb = this.#limbOf(session)
    if (limb?.session === session) this.#take(session, limb, decodeHeartbeat(payload))
  }

  /** A heartbeat was too large to be kept: the limb lives all the same. */
  unreadHeartbeat(session: Session, bytes: number): void {
    const limb = this.#limbOf(session)
    if (limb?.session === session) this.#take(session, limb, tooLargeHeartbeat(bytes))
  }

  #limbOf({ identity }: Session): LiveLimb | undefined {
    return identity.kind === 'limb' ? this.#registry.get(identity.nodeId) : undefined
  }

  #take(session: Session, limb: LiveLimb, decoded: Heartbeat | PartlyUsable): void {
    let heartbeat = decoded
    if ('unusable' in heartbeat) {
      this.#reportUnusable(session, limb, heartbeat.unusable.refusal)
      heartbeat = withWhatHeld(limb, heartbeat)
    }
    const { clock, running } = this.#context
    const now = clock.monotonicMs()
    const before = limb.status
    const change = heartbeatReceived(limb, session, heartbeat, running.steady.at(now), now)
    if (limb.deadline < limb.scheduledAt) this.#deadlines.follow(limb)
    if (!limb.unsaved) this.#markUnsaved(limb)
    if (change !== 'none') this.#changed(limb, before, change)
    else if (now - limb.statePublishedAt >= stateRefreshMs(this.#context)) this.#announcer.state(limb)
  }

  /** The limb said `deregister`: it stays paired and connected, and is offline until its next heartbeat. */
  deregistered(session: Session, nodeId: string): void {
    const limb = this.#registry.get(nodeId)
    if (limb) this.#goodbye(limb, session, 'deregistered')
  }

  closed(session: Session, nodeId: string, clean: boolean): void {
    const limb = this.#registry.get(nodeId)
    if (!limb) return
    if (clean) {
      this.#goodbye(limb, session, 'disconnected')
      return
    }
    const { clock, running, settings } = this.#context
    const before = limb.status
    const graceMs = settings.presence.graceSeconds * 1000
    const change = connectionLost(limb, session, running.steady.now(), clock.monotonicMs(), graceMs)
    this.#deadlines.follow(limb)
    if (change !== 'none') this.#changed(limb, before, change)
  }

  /** Another device is this limb from now on: it is offline until that one is heard. */
  replaced(limb: LiveLimb): void {
    limb.session = undefined
    const before = limb.status
    const change = wentOffline(limb, 'disconnected', this.#context.running.steady.now())
    if (change !== 'none') this.#changed(limb, before, change)
  }

  /** Publishes status and state of a limb that was approved just now, as they are. */
  announce(limb: LiveLimb): void {
    // What waits is published before, or its pace would go on from a status that nobody has last.
    this.#pace.flush(limb)
    this.#announcer.status(limb)
  }

  /** The listeners are open. */
  start(): void {
    this.#probes.start()
  }

  /** Every limb that is not offline becomes so: the bridge itself ends. */
  stop(): void {
    this.#stopped = true
    this.#deadlines.stop()
    this.#probes.stop()
    this.#cancelSave?.()
    this.#refresh.stop()
    this.#pace.stop()
    const now = this.#context.running.steady.now()
    for (const limb of this.#registry.values()) {
      const before = limb.status
      const change = bridgeStopped(limb, now)
      if (change !== 'none') this.#changed(limb, before, change)
      else this.#pace.flush(limb)
    }
  }

  /** Stores `lastHeartbeatAt` of all limbs heard since the last time. A failure keeps them for the next. */
  async save(): Promise<void> {
    this.#cancelSave?.()
    this.#cancelSave = undefined
    const limbs = this.#unsaved
    this.#unsaved = []
    for (const limb of limbs) limb.unsaved = false
    for (let i = 0; i < limbs.length; i += SAVE_BATCH) {
      const chunk = limbs.slice(i, i + SAVE_BATCH)
      const batch = chunk.flatMap(({ record, lastHeartbeatAt }) =>
        lastHeartbeatAt === undefined ? [] : [{ nodeId: record.nodeId, at: lastHeartbeatAt as number }],
      )
      try {
        await this.#context.store.saveHeartbeats(batch)
      } catch (error) {
        // The store has said so itself; what is lost is only how fresh the times are after a crash.
        this.#context.log.debug({ error: messageOf(error) }, 'heartbeat times not stored, trying again later')
        for (const limb of limbs.slice(i))
          if (!limb.unsaved && this.#registry.get(limb.record.nodeId) === limb) this.#markUnsaved(limb)
        return
      }
    }
  }

  /** The body of an answer may say what a heartbeat says; what it says else is its own affair, and no fault. */
  #answeredProbe(limb: LiveLimb, body: Uint8Array): void {
    const { unusable: _, ...heartbeat } = decodeHeartbeat(body) as PartlyUsable
    const { clock, running } = this.#context
    const now = clock.monotonicMs()
    const before = limb.status
    const change = probeAnswered(limb, heartbeat, running.steady.at(now), now)
    if (limb.deadline < limb.scheduledAt) this.#deadlines.follow(limb)
    if (!limb.unsaved) this.#markUnsaved(limb)
    if (change !== 'none') this.#changed(limb, before, change)
    else if (now - limb.statePublishedAt >= stateRefreshMs(this.#context)) {
      this.#announcer.state(limb)
    }
  }

  #goodbye(limb: LiveLimb, session: object | undefined, reason: 'disconnected' | 'deregistered'): void {
    const before = limb.status
    const change = signedOff(limb, session, reason, this.#context.running.steady.now())
    if (change !== 'none') this.#changed(limb, before, change)
  }

  /** Memory follows at once; who watches is told at a pace, or at once when the bridge stops. */
  #changed(limb: LiveLimb, before: NodeStatus, change: PresenceChange): void {
    if (change === 'status') this.#registry.statusChanged(limb, before)
    if (this.#stopped) this.#publish(limb, this.#pace.publishedOf(limb) ?? before)
    else this.#pace.changed(limb, before)
  }

  /** Publishes what the limb is now; `published` is the status that was published last. */
  #publish(limb: LiveLimb, published: NodeStatus): void {
    if (published === limb.status) {
      this.#announcer.state(limb)
      return
    }
    if (published === 'offline' || limb.status === 'offline') this.#history.record(limb)
    this.#context.log.info(
      { nodeId: limb.record.nodeId, status: limb.status, reason: limb.reason },
      `${limb.record.nodeId} is ${limb.status}`,
    )
    this.#announcer.status(limb)
  }

  #reportFlapping(limb: LiveLimb, changes: number): void {
    const { nodeId } = limb.record
    const { maxChangesPerSecond } = this.#context.settings.presence
    this.#context.counters.count('limbs_flapping')
    this.#context.log.warn(
      { nodeId, changes },
      `${nodeId} is flapping: its status or state changes more often than ${maxChangesPerSecond} times a second (presence.maxChangesPerSecond); only the newest is told`,
    )
    this.#announcer.event('node_flapping', { nodeId, changes })
  }

  #reportUnusable(session: Session, limb: LiveLimb, refusal: Refusal): void {
    const { clock, counters, log } = this.#context
    const { nodeId } = limb.record
    counters.count('heartbeats_invalid')
    const now = clock.monotonicMs()
    if (now < limb.complainAfter) return
    const body = refusal.body()
    if (body.message === limb.complaint && now < limb.complainAfter + COMPLAIN_AGAIN_MS) return
    limb.complainAfter = plusMs(now, COMPLAIN_MS)
    limb.complaint = body.message
    log.warn({ nodeId, error: body }, `a part of a heartbeat of ${nodeId} cannot be used: ${body.message}`)
    this.#announcer.event('heartbeat_invalid', { nodeId, error: body })
    session.send(this.#context.topics.node(nodeId, 'pairing'), encodeJson({ status: 'error', error: body }))
  }

  #markUnsaved(limb: LiveLimb): void {
    limb.unsaved = true
    this.#unsaved.push(limb)
    if (this.#stopped) return
    this.#cancelSave ??= this.#context.clock.after(this.#context.settings.presence.saveSeconds * 1000, () => {
      void this.save()
    })
  }

  /** The deadline of a limb has come. */
  #silent(limb: LiveLimb): void {
    if (this.#registry.get(limb.record.nodeId) !== limb) return
    const before = limb.status
    const change = deadlinePassed(limb, this.#context.running.steady.now())
    if (change !== 'none') this.#changed(limb, before, change)
  }
}

function lastHeardOf({ lastHeartbeatAt }: NodeRecord): SteadyMs | undefined {
  return (lastHeartbeatAt ?? undefined) as SteadyMs | undefined
}

/** Returns whether its description is another one. */
function describesAnew(before: NodeRecord, after: NodeRecord): boolean {
  return (
    before.ownDescription !== after.ownDescription ||
    before.operatorDescription !== after.operatorDescription ||
    before.capabilities !== after.capabilities ||
    before.displayName !== after.displayName ||
    before.operatorName !== after.operatorName ||
    before.operatorSettings?.area !== after.operatorSettings?.area
  )
}

/**
 * Keeps what the limb said before where the new words could not be understood; a limb that was offline is online by
 * being heard.
 */
function withWhatHeld({ status, unavailable }: LiveLimb, { unusable, ...usable }: PartlyUsable): Heartbeat {
  return {
    ...(unusable.keeps.includes('status') && isReportedStatus(status) && status !== 'offline'
      ? { status }
      : {}),
    ...(unusable.keeps.includes('unavailable') ? { unavailable: [...unavailable] } : {}),
    ...usable,
  }
}
