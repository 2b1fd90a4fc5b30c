import { Refusal } from '../../kernel/errors.ts'
import { encodeJson } from '../../protocol/encode.ts'
import type { Invocation, InvocationResult } from '../../protocol/schemas.ts'
import type { Topics } from '../../protocol/topics.ts'
import type { LiveLimb } from '../live/registry.ts'
import type { SessionTable } from '../live/sessions.ts'
import type { InvocationDelivery } from '../ports.ts'

/** Takes the answer: the limb's result, or why there is none. It is called at most once; later calls do nothing. */
export type Settle = (outcome: InvocationResult | Refusal) => void

/**
 * One way of bringing an invocation to a limb. The deadline is kept by the caller; a transport that has its own
 * connection gives it up when it is told to.
 */
export interface InvokeTransport {
  /**
   * Says why the limb cannot be reached now, or undefined. It is asked before anything is promised, and again at delivery.
   */
  unreachable(limb: LiveLimb): Refusal | undefined
  /** Sends it; nobody waits longer than `timeoutMs`. Total. The answer comes through `settle`, or, over MQTT, on the limb's `result` topic. */
  deliver(limb: LiveLimb, invocation: Invocation, settle: Settle, timeoutMs: number): InvocationDelivery
}

const SENT: InvocationDelivery = { sent: true, giveUp: () => {} }
const NOT_SENT: InvocationDelivery = { sent: false, giveUp: () => {} }

/** Sends over the limb's own live session, so that an invocation can reach nobody else. */
export class MqttTransport implements InvokeTransport {
  readonly #topics: Topics
  readonly #table: SessionTable

  constructor(topics: Topics, table: SessionTable) {
    this.#topics = topics
    this.#table = table
  }

  unreachable(limb: LiveLimb): Refusal | undefined {
    const { nodeId } = limb.record
    const session = this.#table.limb(nodeId)
    if (!session)
      return new Refusal('node_offline', `${nodeId} is not connected; try again when it is online`)
    return session.subscribedTo(this.#topics.node(nodeId, 'invoke')) ? undefined : this.#deaf(nodeId)
  }

  deliver(limb: LiveLimb, invocation: Invocation, settle: Settle, timeoutMs: number): InvocationDelivery {
    const { nodeId } = limb.record
    const topic = this.#topics.node(nodeId, 'invoke')
    const { invocationId } = invocation
    // Whoever can be told so learns where its answer goes, and never gets what nobody waits for any more.
    const context = {
      responseTopic: this.#topics.node(nodeId, 'result'),
      correlation: Buffer.from(invocationId),
      lifeMs: timeoutMs,
    }
    const sent = this.#table.limb(nodeId)?.send(topic, encodeJson(invocation), context) ?? false
    if (!sent) settle(this.unreachable(limb) ?? this.#deaf(nodeId))
    return sent ? SENT : NOT_SENT
  }

  #deaf(nodeId: string): Refusal {
    return new Refusal(
      'node_offline',
      `${nodeId} is connected but has not subscribed to ${this.#topics.node(nodeId, 'invoke')}; its program must do that to be invoked`,
    )
  }
}

/** The transport for limbs that asked for HTTP while the bridge does not speak it. */
export const noHttp: InvokeTransport = {
  unreachable: (limb) =>
    new Refusal(
      'node_offline',
      `${limb.record.nodeId} wants to be invoked over HTTP, which this bridge does not do; register it with "invoke": "mqtt"`,
    ),
  deliver(limb, _invocation, settle) {
    settle(new Refusal('node_offline', `${limb.record.nodeId} wants to be invoked over HTTP`))
    return NOT_SENT
  },
}
