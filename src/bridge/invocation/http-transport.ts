import { messageOf, Refusal } from '../../kernel/errors.ts'
import { deriveInvokeSecret } from '../../kernel/invoke-signature.ts'
import { LogThrottle } from '../../kernel/log-throttle.ts'
import { Semaphore } from '../../kernel/semaphore.ts'
import { TurnTime } from '../../kernel/turn-time.ts'
import { check, parseJson } from '../../protocol/decode.ts'
import { encodeJson } from '../../protocol/encode.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { type Invocation, type InvocationResult, invocationResultSchema } from '../../protocol/schemas.ts'
import type { LiveLimb } from '../live/registry.ts'
import type { SessionTable } from '../live/sessions.ts'
import type { HttpInvocation, InvocationDelivery, InvokeOverHttp } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import { wrongResult } from './answers.ts'
import type { InvokeTransport, Settle } from './mqtt-transport.ts'

/** The reasons why a limb could not be reached are logged so often. */
const UNREACHABLE = { quietMs: 10_000, lines: 3, maxKeys: 500, maxLines: 50 } as const

/** Answers of more bytes have turns of the event loop of their own, and of one turn so many milliseconds. */
const LARGE_BYTES = 65_536
const READING_MS = 5

/** Sends to the endpoint that the limb registered last, signed with the limb's secret. */
export class HttpTransport implements InvokeTransport {
  readonly #http: InvokeOverHttp
  readonly #context: Pick<BridgeContext, 'store' | 'log'>
  readonly #throttle: LogThrottle
  readonly #time: TurnTime
  readonly #reading = new Semaphore(1, Number.POSITIVE_INFINITY)
  readonly #table: SessionTable

  constructor(
    http: InvokeOverHttp,
    context: Pick<BridgeContext, 'store' | 'log' | 'clock'>,
    table: SessionTable,
  ) {
    this.#http = http
    this.#context = context
    this.#time = new TurnTime(context.clock, READING_MS)
    this.#throttle = new LogThrottle(context.clock, UNREACHABLE)
    this.#table = table
  }

  unreachable(limb: LiveLimb): Refusal | undefined {
    const { nodeId, endpointUrl } = limb.record
    if (endpointUrl === null) return new Refusal('node_offline', `${nodeId} has no endpoint any more`)
    return this.#table.limb(nodeId) || isProbed(limb) ? undefined : notConnected(nodeId)
  }

  deliver(limb: LiveLimb, invocation: Invocation, settle: Settle): InvocationDelivery {
    let posted: InvocationDelivery | undefined
    let over = false
    const end: Settle = (outcome) => {
      if (!over) settle(outcome)
      over = true
    }
    this.#request(limb, invocation)
      .then((request) => {
        if (over) return
        posted = this.#http.client.post(request, (outcome, why) => {
          if (why !== undefined) this.#log(request.nodeId, why)
          if (outcome instanceof Refusal) end(outcome)
          else this.#read(request.nodeId, invocation.invocationId, outcome, end)
        })
      })
      .catch((error: unknown) => {
        end(error instanceof Refusal ? error : new Refusal('internal', messageOf(error)))
      })
    return {
      get sent() {
        return posted?.sent ?? false
      },
      giveUp() {
        over = true
        posted?.giveUp()
      },
    }
  }

  /** A large answer is read in one turn of the event loop, and told in another. */
  #read(nodeId: string, invocationId: string, body: Uint8Array, end: Settle): void {
    if (body.length <= LARGE_BYTES) {
      end(resultOf(nodeId, invocationId, body))
      return
    }
    // One after the other: what was read may take five times the bytes.
    void this.#reading.run(async () => {
      await this.#time.next()
      const result = resultOf(nodeId, invocationId, body)
      await this.#time.next()
      end(result)
    })
  }

  #log(nodeId: string, why: string): void {
    this.#throttle.write(nodeId, (suppressed) => this.#context.log.warn({ nodeId, suppressed }, why))
  }

  async #request(limb: LiveLimb, invocation: Invocation): Promise<HttpInvocation> {
    const { nodeId } = limb.record
    const keys = await this.#context.store.read((tx) => tx.nodeKeys(nodeId))
    const session = this.#table.limb(nodeId)
    if (!keys || (!session && !isProbed(limb))) throw notConnected(nodeId)
    // After the wait: the endpoint in use is always the one stored last.
    const { endpointUrl } = limb.record
    if (endpointUrl === null) throw new Refusal('node_offline', `${nodeId} has no endpoint any more`)
    return {
      nodeId,
      endpointUrl,
      address: session?.address ?? limb.address,
      secret: deriveInvokeSecret(this.#http.master, nodeId, keys.current),
      body: encodeJson(invocation),
    }
  }
}

/** Returns whether the limb need not be connected: the bridge looks itself whether its server answers. */
function isProbed({ rule }: LiveLimb): boolean {
  return rule.mode === 'probe'
}

function notConnected(nodeId: string): Refusal {
  return new Refusal(
    'node_offline',
    `${nodeId} is invoked over HTTP, but only while it is connected over MQTT, which it is not; try again when it is online`,
  )
}

/**
 * Reads a body as on `result`; a limb need not repeat the id, since the answer is on the request's own connection.
 */
function resultOf(nodeId: string, invocationId: string, body: Uint8Array): InvocationResult | Refusal {
  try {
    const value = parseJson(body, LIMITS.resultBytes)
    const whole = typeof value === 'object' && value !== null ? { invocationId, ...value } : value
    const result = check(invocationResultSchema, whole)
    if (result.invocationId === invocationId) return result
    return new Refusal('node_error', `${nodeId} answered another invocation than it was asked for`)
  } catch (error) {
    return wrongResult(nodeId, messageOf(error))
  }
}
