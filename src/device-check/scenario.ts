import { type PresenceMode, presenceRule } from '../protocol/presence.ts'
import type { CheckParts } from './check-parts.ts'
import type { ClauseId } from './clauses.ts'
import type { SeenConnection } from './device.ts'
import { InvocationTrial } from './invocation-trial.ts'

/** The course of a check: what the bridge and the network do to the device, one after the other. */

/** The shortest interval that the protocol has: the check asks for it, so that it takes seconds. */
const HEARTBEAT_SECONDS = 5
const TURNED_AWAY = 3
/** A pause of one second, times 0.5, less what a busy machine loses. */
const SHORTEST_PAUSE_MS = 400
const REJECTED_TRIES = 2
/** Four seconds times 0.5, after one second times 1.5. */
const GROWTH = 1.3

const OF_RECONNECTS: readonly ClauseId[] = [
  'reconnect.again',
  'reconnect.paused',
  'reconnect.grows',
  'reconnect.registers',
  'reconnect.silent',
]

export class Scenario {
  readonly #parts: CheckParts
  #mode: PresenceMode = 'heartbeat'

  constructor(parts: CheckParts) {
    this.#parts = parts
  }

  /** Runs to the end, or to where the device comes no further. Resolves with whether it ever came. */
  async run(): Promise<boolean> {
    const { device, watch, waits, progress } = this.#parts
    if (!(await watch.until(() => device.arrivals > 0, waits.firstConnectionMs))) return false
    progress('a device connects')
    if (!(await this.#registers()) || !(await this.#isApproved())) return true
    await this.#livesOn()
    await new InvocationTrial(this.#parts).run()
    if (this.#mode === 'sleepy')
      this.#skip(OF_RECONNECTS, 'it sleeps between its visits, and comes when it wants to')
    else await this.#comesBack()
    await this.#takesNewKey()
    await this.#isRejected()
    this.#last()
    return true
  }

  #skip(clauses: readonly ClauseId[], why: string): void {
    for (const clause of clauses) this.#parts.report.notTried(clause, why)
  }

  async #registers(): Promise<boolean> {
    const { device, watch, waits, report, progress } = this.#parts
    const answered = () => device.connections.some((seen) => seen.pending || seen.approvedAt !== undefined)
    await watch.until(() => answered() || device.registerRefused, waits.answerMs)
    if (device.connections.some(({ registers }) => registers > 0)) report.holds('register.sent')
    else report.broken('register.sent', this.#whyNoRegister())
    if (answered()) progress(`${device.nodeId} has registered; its request is pending`)
    return answered()
  }

  #whyNoRegister(): string {
    const { device, waits } = this.#parts
    const last = device.connections.at(-1)
    if (last === undefined && device.refusedOverHttp !== undefined) return device.refusedOverHttp
    if (last === undefined) return 'connected, and sent no CONNECT with a nodeId as its user name'
    if (last.connack !== undefined && last.connack !== 0)
      return `its CONNECT was refused with code ${last.connack}`
    return `connected as ${device.nodeId}, and published no \`register\` within ${waits.answerMs / 1000} seconds; firmware that cannot register is provisioned by an operator (docs/devices/)`
  }

  async #isApproved(): Promise<boolean> {
    const { device, watch, waits, report, bridge, progress } = this.#parts
    const before = device.connections.length
    await watch.until(() => device.connections.length > before + 1, waits.pendingMs)
    if (device.connections.length <= before + 1) report.holds('pending.waits')
    else
      report.broken(
        'pending.waits',
        `connected ${device.connections.length - before} times more within ${waits.pendingMs / 1000} seconds`,
      )
    const { items } = (await bridge.request('pairing/list', {})) as { items: readonly Pending[] }
    const request = items.find(({ nodeId }) => nodeId === device.nodeId)
    if (request === undefined) return false
    await bridge.request('pairing/approve', { requestId: request.requestId })
    this.#mode = presenceRule(device.registration?.presence).mode
    progress('it is approved')
    return await watch.until(
      () => device.connections.some(({ approvedAt }) => approvedAt !== undefined),
      waits.returnMs,
    )
  }

  async #livesOn(): Promise<void> {
    const { device, watch, waits, report } = this.#parts
    if (await watch.until(() => device.invokeSubscribed, waits.answerMs)) report.holds('invoke.subscribed')
    else if (device.registration?.invoke === 'http')
      report.notTried('invoke.subscribed', 'it is an HTTP server')
    else
      report.broken(
        'invoke.subscribed',
        `did not subscribe to \`invoke\` within ${waits.answerMs / 1000} seconds of its approval${this.#smallBuffer()}`,
      )
    if (this.#mode !== 'heartbeat') {
      this.#skip(
        ['heartbeat.first', 'heartbeat.pace', 'heartbeat.valid', 'heartbeat.retained'],
        `its presence is ${this.#mode}: it needs no heartbeat`,
      )
      return
    }
    const heard = () => device.connections.some((seen) => heardSince(seen) > 0)
    if (await watch.until(heard, waits.answerMs)) report.holds('heartbeat.first')
    else
      report.broken(
        'heartbeat.first',
        `sent no heartbeat within ${waits.answerMs / 1000} seconds of its approval${this.#smallBuffer()}`,
      )
  }

  #smallBuffer(): string {
    const largest = Math.max(0, ...this.#parts.device.connections.map((seen) => seen.largestAnswer))
    return largest > 200
      ? `; the answer \`approved\` has ${largest} bytes: PubSubClient drops what is larger than its buffer of 256 without a word (\`setBufferSize\`, or register with "brief": true)`
      : ''
  }

  async #comesBack(): Promise<void> {
    const { device, door, watch, waits, report, bridge, progress } = this.#parts
    if (this.#mode === 'heartbeat')
      await bridge.request('node/set', {
        nodeId: device.nodeId,
        heartbeatSeconds: HEARTBEAT_SECONDS,
        timeoutSeconds: 4 * HEARTBEAT_SECONDS,
      })
    progress('the connection is cut, and the bridge is away for a while')
    const connections = device.connections.length
    device.turnedAwayAt = []
    const cutAt = this.#parts.clock.monotonicMs()
    door.turnsAway = true
    device.live?.connection.cut()
    await watch.until(() => device.turnedAwayAt.length >= TURNED_AWAY, waits.returnMs)
    door.turnsAway = false
    this.#pauses([cutAt, ...device.turnedAwayAt])
    const back = await watch.until(() => device.connections.length > connections, waits.returnMs)
    if (!back) {
      report.broken('reconnect.again', `did not come back within ${waits.returnMs / 1000} seconds`)
      return
    }
    report.holds('reconnect.again')
    progress('it is back')
    await this.#isWholeAgain(device.connections.at(-1) as SeenConnection)
  }

  #pauses(times: readonly number[]): void {
    const { report } = this.#parts
    const pauses = times.slice(1).map((at, i) => at - (times[i] ?? at))
    const shown = pauses.map((ms) => `${(ms / 1000).toFixed(1)} s`).join(', ')
    if (pauses.length < TURNED_AWAY) {
      const why = `tried ${pauses.length} times while the bridge was away${shown === '' ? '' : ` (after ${shown})`}`
      this.#skip(['reconnect.paused', 'reconnect.grows'], why)
      return
    }
    if (pauses.every((ms) => ms >= SHORTEST_PAUSE_MS)) report.holds('reconnect.paused')
    else report.broken('reconnect.paused', `tried again after ${shown}`)
    // A device that does not pause at all is at one time later than at another, and grows by none of it.
    const first = Math.max(SHORTEST_PAUSE_MS, pauses[0] ?? 0)
    if ((pauses.at(-1) ?? 0) >= GROWTH * first) report.holds('reconnect.grows')
    else report.broken('reconnect.grows', `tried again after ${shown}`)
  }

  async #isWholeAgain(seen: SeenConnection): Promise<void> {
    const { watch, waits, report } = this.#parts
    const whole = () => seen.approvedAt !== undefined && (this.#mode !== 'heartbeat' || heardSince(seen) > 0)
    if (await watch.until(whole, waits.answerMs)) report.holds('reconnect.registers')
    else
      report.broken(
        'reconnect.registers',
        seen.registers === 0
          ? 'did not register after the reconnect'
          : 'sent no heartbeat after the reconnect',
      )
    if (seen.registers === 0) report.broken('register.sent', 'did not register after a reconnect')
    if (this.#mode === 'heartbeat') await this.#pace(seen)
    await this.#noticesSilence()
  }

  async #pace(seen: SeenConnection): Promise<void> {
    const { watch, report, progress } = this.#parts
    if (seen.approvedAt === undefined) return
    const seconds = seen.heartbeatSeconds
    progress(`its heartbeats are counted: it was asked for one every ${seconds} seconds`)
    const limitMs = seconds * 1500 + 1000
    const wanted = heardSince(seen) + 2
    const inTime = await watch.until(() => heardSince(seen) >= wanted, 2 * limitMs)
    const times = seen.heartbeats.filter((at) => at >= (seen.approvedAt ?? 0))
    const pauses = times.slice(1).map((at, i) => (at - (times[i] ?? at)) / 1000)
    const shown = pauses.map((pause) => `${pause.toFixed(1)} s`).join(', ')
    if (!inTime)
      report.broken(
        'heartbeat.pace',
        `was asked for one every ${seconds} seconds, and sent ${times.length} in ${Math.round((2 * limitMs) / 1000)} seconds`,
      )
    else if (pauses.some((pause) => pause < seconds / 5))
      report.broken(
        'heartbeat.pace',
        `was asked for one every ${seconds} seconds, and sends more: pauses of ${shown}`,
      )
    else report.holds('heartbeat.pace')
    report.holds('heartbeat.valid')
  }

  async #noticesSilence(): Promise<void> {
    const { device, watch, report, wishes, progress } = this.#parts
    const { live } = device
    if (!wishes.thorough) {
      report.notTried('reconnect.silent', '--thorough tries it')
      return
    }
    if (live === undefined) return
    const seconds = live.connect.keepalive * 2.5 + 10
    progress(`the bridge falls silent; the device has ${Math.round(seconds)} seconds to notice`)
    live.connection.fallSilent()
    const noticed =
      live.connect.keepalive > 0 && (await watch.until(() => live.closedAt !== undefined, seconds * 1000))
    if (noticed) report.holds('reconnect.silent')
    else
      report.broken(
        'reconnect.silent',
        `still took the connection for good after ${Math.round(seconds)} seconds`,
      )
    live.connection.cut()
    await watch.until(() => device.live?.approvedAt !== undefined, this.#parts.waits.returnMs)
  }

  async #takesNewKey(): Promise<void> {
    const { device, watch, waits, report, wishes, bridge, progress } = this.#parts
    if (!wishes.rotateKey) {
      report.notTried(
        'key.rotated',
        '--rotate-key tries it; the device then has another key at your real bridge too',
      )
      return
    }
    progress('it is given a new key')
    const { apiKey } = (await bridge.request('node/rotate-key', { nodeId: device.nodeId })) as {
      apiKey?: string
    }
    await watch.until(() => device.receivedKey === apiKey, waits.answerMs)
    const connections = device.connections.length
    // Time to store it, which a device does before it goes on.
    await watch.pause(500)
    device.live?.connection.cut()
    await watch.until(() => device.connections.length > connections, waits.returnMs)
    if (device.connections.at(-1)?.connect.key === apiKey && device.connections.length > connections)
      report.holds('key.rotated')
    else
      report.broken(
        'key.rotated',
        'came back with the old key: store `apiKey` of the answer `approved`, and use it from then on',
      )
    await watch.until(() => device.live?.approvedAt !== undefined, waits.answerMs)
  }

  async #isRejected(): Promise<void> {
    const { device, watch, waits, report, bridge, progress } = this.#parts
    if (watch.ended) return
    progress('its pairing is ended, as an operator does')
    const before = device.arrivals
    await bridge.request('node/revoke', { nodeId: device.nodeId })
    await watch.until(() => device.arrivals - before > REJECTED_TRIES, waits.rejectedMs)
    const tries = device.arrivals - before
    if (tries > REJECTED_TRIES)
      report.broken(
        'rejected.waits',
        `connected ${tries} times within ${Math.round(waits.rejectedMs / 1000)} seconds`,
      )
    else if (!watch.ended) report.holds('rejected.waits')
  }

  /** Says which values were never seen. */
  #last(): void {
    const { device, report } = this.#parts
    const unseen = device.unseenProperties()
    if (device.registration?.described?.properties === undefined)
      report.notTried('data.described', 'it describes no properties')
    else if (unseen.length > 0)
      report.notTried('data.described', `it published no value of ${unseen.join(', ')} in this time`)
  }
}

interface Pending {
  readonly nodeId: string
  readonly requestId: string
}

/** Counts the heartbeats since the approval; those before it do not count. */
function heardSince(seen: SeenConnection): number {
  const { approvedAt } = seen
  return approvedAt === undefined ? 0 : seen.heartbeats.filter((at) => at >= approvedAt).length
}
