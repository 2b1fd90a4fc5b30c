import { Deadlines } from '../../kernel/deadline-timer.ts'
import type { Deadlined } from '../../kernel/deadlines.ts'
import { PacedLog } from '../live/paced-log.ts'
import type { LiveLimb } from '../live/registry.ts'
import type { ProbeOutcome } from '../ports.ts'
import { type BridgeContext, intervalsOf } from '../settings.ts'

/** Probes under way at once. Limbs that are offline get half of them at most: waiting for those takes the longest. */
const MAX_PROBES = 64
const MAX_PROBES_OF_OFFLINE = MAX_PROBES / 2
/** The interval of a limb that stays offline grows to this, or to its own if that is longer. */
const OFFLINE_INTERVAL_MS = 60_000
/** Probes that failed are logged so often for each limb. */
const FAILURES = { quietMs: 600_000, lines: 1, maxKeys: 500, maxLines: 500 } as const

interface Probe extends Deadlined {
  readonly limb: LiveLimb
  /** The probes in a row that failed. */
  failures: number
  /** Gives up the one that is under way; undefined: none is. */
  giveUp: (() => void) | undefined
}

/**
 * Asks limbs with the presence mode `probe` whether they are there, each at its own interval. There are as many probes
 * as limbs, one timer, and a bounded number under way.
 */
export class Probes {
  readonly #context: BridgeContext
  readonly #answered: (limb: LiveLimb, body: Uint8Array) => void
  readonly #probes = new Map<string, Probe>()
  /** Holds those whose turn has come and that found no place, limbs that are there and others apart. */
  readonly #waiting = { there: new Set<Probe>(), offline: new Set<Probe>() }
  readonly #deadlines: Deadlines<Probe>
  readonly #lines: PacedLog
  #underWay = 0
  #underWayOffline = 0
  /** False before the listeners are open: what an answer says could not be published yet. */
  #running = false

  constructor(context: BridgeContext, answered: (limb: LiveLimb, body: Uint8Array) => void) {
    this.#context = context
    this.#answered = answered
    this.#deadlines = new Deadlines(context.clock, (probe) => this.#due(probe))
    this.#lines = new PacedLog(context, FAILURES)
  }

  /** Probes a limb from now on, at once for the first time, or not any more, as its rule and its endpoint say. */
  watch(limb: LiveLimb): void {
    const { nodeId, endpointUrl } = limb.record
    this.forget(nodeId)
    if (limb.rule.mode !== 'probe' || endpointUrl === null) return
    const none = Number.POSITIVE_INFINITY
    const probe: Probe = { limb, failures: 0, giveUp: undefined, deadline: none, scheduledAt: none }
    this.#probes.set(nodeId, probe)
    if (this.#running) this.#due(probe)
  }

  start(): void {
    this.#running = true
    for (const probe of this.#probes.values()) this.#due(probe)
  }

  forget(nodeId: string): void {
    const probe = this.#probes.get(nodeId)
    if (!probe) return
    this.#probes.delete(nodeId)
    this.#deadlines.clear(probe)
    this.#waiting.there.delete(probe)
    this.#waiting.offline.delete(probe)
    probe.giveUp?.()
    this.#next()
  }

  stop(): void {
    this.#running = false
    this.#deadlines.stop()
    this.#lines.stop()
    for (const { giveUp } of this.#probes.values()) giveUp?.()
    this.#probes.clear()
    this.#waiting.there.clear()
    this.#waiting.offline.clear()
  }

  #due(probe: Probe): void {
    const waiting = probe.limb.status === 'offline' ? this.#waiting.offline : this.#waiting.there
    waiting.add(probe)
    this.#next()
  }

  /** Starts as many as there are places for. */
  #next(): void {
    const { there, offline } = this.#waiting
    while (this.#running && this.#underWay < MAX_PROBES) {
      const [first] = there
      const [second] = this.#underWayOffline < MAX_PROBES_OF_OFFLINE ? offline : []
      const probe = first ?? second
      if (probe === undefined) return
      const isOffline = first === undefined
      ;(isOffline ? offline : there).delete(probe)
      this.#start(probe, isOffline)
    }
  }

  #start(probe: Probe, isOffline: boolean): void {
    const { invokeOverHttp } = this.#context
    const { record, address } = probe.limb
    if (invokeOverHttp === undefined || record.endpointUrl === null) return
    const { nodeId, endpointUrl } = record
    let over = false
    const release = () => {
      if (over) return false
      over = true
      probe.giveUp = undefined
      this.#underWay--
      if (isOffline) this.#underWayOffline--
      return true
    }
    this.#underWay++
    if (isOffline) this.#underWayOffline++
    const giveUp = invokeOverHttp.client.probe({ nodeId, endpointUrl, address }, (outcome) => {
      if (release()) this.#ended(probe, outcome)
    })
    if (over) return
    probe.giveUp = () => {
      release()
      giveUp()
    }
  }

  #ended(probe: Probe, outcome: ProbeOutcome): void {
    const { limb } = probe
    const isAnswer = 'body' in outcome
    this.#context.counters.count('probes', isAnswer ? 'answered' : 'failed')
    probe.failures = isAnswer ? 0 : probe.failures + 1
    if (isAnswer) this.#answered(limb, outcome.body)
    else this.#logFailure(limb, outcome.failure)
    this.#deadlines.set(probe, this.#intervalMs(probe))
    this.#next()
  }

  #logFailure(limb: LiveLimb, why: string): void {
    const { nodeId, endpointUrl } = limb.record
    const text = `the server of ${nodeId}, asked for its health, ${why}`
    this.#lines.write('warn', nodeId, { nodeId, endpointUrl }, text)
  }

  #intervalMs({ limb, failures }: Probe): number {
    const own = intervalsOf(this.#context.settings, limb.record).heartbeatSeconds * 1000
    if (limb.status !== 'offline' || failures === 0) return own
    const slower = own * 2 ** Math.min(failures, 10)
    return Math.min(slower, Math.max(own, OFFLINE_INTERVAL_MS))
  }
}
