import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { SecureContext } from 'node:tls'
import type { WebhookClient, WebhookOutcome, WebhookRequest } from '../../bridge/webhook-ports.ts'
import { isLoopbackAddress } from '../../kernel/address.ts'
import type { Clock } from '../../kernel/clock.ts'
import type { Network } from '../../kernel/networks.ts'
import { brokenAnswer } from '../outbound/broken-answer.ts'
import { hostOf, portOf } from '../outbound/channel.ts'
import { connectionFailure } from '../outbound/failure.ts'
import { lookupNames } from '../outbound/names.ts'
import { type Lookup, publicAnd, type Resolved, resolveAllowed, sharedLookup } from '../outbound/networks.ts'
import { type Race, raceToConnect } from '../outbound/race.ts'
import { readReason } from '../outbound/refused-answer.ts'
import { sendJson } from '../outbound/request.ts'
import { ServerTrust } from '../outbound/trust.ts'
import { PacketTurns } from '../packet-turns.ts'

/** Requests to webhooks: one connection each, to an address that was checked. */

export interface WebhookClientOptions {
  readonly clock: Clock
  /** Asked at each request: networks that are allowed to every webhook (`invocation.httpNetworks`). */
  readonly networks: () => readonly Network[]
  /** The system's own when absent. */
  readonly lookup?: Lookup
}

const CONNECT_MS = 10_000
/** The time from the connection to the status of the answer. */
const ANSWER_MS = 15_000
/** Authorities of files that are kept parsed; there are no more webhooks. */
const MAX_TRUSTS = 32
/** A receiver that answered is asked again within an hour, whatever it says. */
const MAX_RETRY_AFTER_SECONDS = 3600
const CLOSED = new Error('the connection was closed')

export function createWebhookClient({
  clock,
  networks,
  lookup = lookupNames({ clock }),
}: WebhookClientOptions): WebhookClient {
  const shared = sharedLookup(lookup)
  const turns = new PacketTurns(clock)
  const trusts = new Map<string, ServerTrust>()
  const secureContext = (caFile: string | undefined) => {
    const trust = trusts.get(caFile ?? '') ?? new ServerTrust('webhooks: caFile')
    if (trusts.size >= MAX_TRUSTS) trusts.clear()
    trusts.set(caFile ?? '', trust)
    return trust.contextFor(caFile ?? null)
  }
  return {
    post: (request, signal) =>
      new Promise((done) => {
        const parts = { clock, networks, lookup: shared, secureContext, turns }
        new Exchange(request, parts, signal, done).start()
      }),
  }
}

interface Parts {
  readonly clock: Clock
  readonly networks: () => readonly Network[]
  readonly lookup: Lookup
  readonly secureContext: (caFile: string | undefined) => SecureContext
  readonly turns: PacketTurns
}

class Exchange {
  readonly #wanted: WebhookRequest
  readonly #url: URL
  readonly #parts: Parts
  readonly #signal: AbortSignal
  readonly #done: (outcome: WebhookOutcome) => void
  readonly #aborted = () => this.#end({ failure: 'the bridge stops' })
  #race: Race | undefined
  #request: ClientRequest | undefined
  #cancelTimer = () => {}
  #sent = false
  #answering = false
  #over = false

  constructor(
    wanted: WebhookRequest,
    parts: Parts,
    signal: AbortSignal,
    done: (outcome: WebhookOutcome) => void,
  ) {
    this.#wanted = wanted
    this.#url = new URL(wanted.url)
    this.#parts = parts
    this.#signal = signal
    this.#done = done
  }

  start(): void {
    if (this.#signal.aborted) {
      this.#aborted()
      return
    }
    this.#signal.addEventListener('abort', this.#aborted, { once: true })
    const { clock, networks, lookup } = this.#parts
    const allowed = publicAnd([...this.#wanted.networks, ...networks()])
    this.#cancelTimer = clock.after(CONNECT_MS, () =>
      this.#fail(`cannot be reached: no connection within ${CONNECT_MS / 1000} s`),
    )
    resolveAllowed(hostOf(this.#url), allowed, lookup)
      .then((addresses) => this.#resolved(addresses))
      .catch((error: unknown) => this.#failed(error))
  }

  #resolved(addresses: readonly Resolved[]): void {
    if (this.#over) return
    if (addresses.length === 0) {
      this.#fail(
        'has no address that is allowed: this machine and private networks are only when networks of the webhook, or invocation.httpNetworks, name them',
      )
    } else if (
      this.#url.protocol === 'http:' &&
      !this.#wanted.allowPlaintext &&
      !addresses.every(({ address }) => isLoopbackAddress(address))
    ) {
      this.#fail('would be sent to without TLS; use https://, or allowPlaintext: true if that is meant')
    } else {
      this.#connect(addresses)
    }
  }

  #connect(addresses: readonly Resolved[]): void {
    const url = this.#url
    const context = url.protocol === 'https:' ? this.#parts.secureContext(this.#wanted.caFile) : undefined
    this.#race = raceToConnect({
      addresses,
      port: portOf(url),
      clock: this.#parts.clock,
      connected: (socket) => this.#send(socket, context),
      failed: (error) => this.#failed(error),
    })
  }

  #send(socket: Socket, context: SecureContext | undefined): void {
    const { body, headers } = this.#wanted
    this.#request = sendJson(socket, {
      url: this.#url,
      context,
      body,
      headers,
      turns: this.#parts.turns,
      sending: () => this.#hasSent(),
      answered: (response) => this.#answered(response),
      failed: (error) => this.#failed(error),
      closed: () => this.#failed(CLOSED),
    })
  }

  #hasSent(): void {
    this.#sent = true
    this.#cancelTimer()
    this.#cancelTimer = this.#parts.clock.after(ANSWER_MS, () =>
      this.#fail(`did not answer within ${ANSWER_MS / 1000} s`),
    )
  }

  #answered(response: IncomingMessage): void {
    const { statusCode: status = 0 } = response
    this.#answering = true
    this.#cancelTimer()
    if (status >= 200 && status < 300) {
      this.#end({ status })
      return
    }
    const retryAfterSeconds = retryAfter(response.headers['retry-after'])
    if (status >= 300 && status < 400) {
      this.#end({ status, failure: `answered with a redirect (${status}), which is not followed` })
      return
    }
    readReason(response, this.#parts.clock, (reason) =>
      this.#end({
        status,
        failure: `answered ${status}${reason === '' ? '' : `: ${JSON.stringify(reason)}`}`,
        retryAfterSeconds,
      }),
    )
  }

  #failed(error: unknown): void {
    if (this.#over || this.#answering) return
    if (this.#sent) this.#fail(brokenAnswer(this.#url.host, error, undefined))
    else this.#fail(`cannot be reached: ${connectionFailure(error)}`)
  }

  #fail(why: string): void {
    this.#end({ failure: why })
  }

  #end(outcome: WebhookOutcome): void {
    if (this.#over) return
    this.#over = true
    this.#cancelTimer()
    this.#signal.removeEventListener('abort', this.#aborted)
    this.#race?.giveUp()
    this.#request?.destroy()
    this.#done(outcome)
  }
}

/** The seconds of `Retry-After`; its other form, a date, is passed over. */
function retryAfter(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text)
    ? Math.min(Number(text), MAX_RETRY_AFTER_SECONDS)
    : undefined
}
