import { type ClientRequest, type IncomingMessage, request as plainRequest } from 'node:http'
import { request as tlsRequest } from 'node:https'
import type { HttpInvocation, HttpLimbClient, InvocationDelivery } from '../../bridge/ports.ts'
import { unmappedAddress } from '../../kernel/address.ts'
import type { Clock } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { invokeSignature } from '../../kernel/invoke-signature.ts'
import { newId } from '../../kernel/secrets.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { type Begun, brokenAnswer, MAX_HEADER_BYTES } from './broken-answer.ts'
import { connectionFailure } from './failure.ts'
import {
  type Lookup,
  lookupBySystem,
  type Network,
  networksOf,
  type Resolved,
  resolveAllowed,
} from './networks.ts'

/** Invocations to limbs that are HTTP servers: one connection each, to an address that was checked. */

export interface HttpLimbClientOptions {
  readonly clock: Clock
  /** Asked at each call. Empty: only the address that the limb's own session comes from. */
  readonly networks: () => readonly Network[]
  /** The system's own when absent. */
  readonly lookup?: Lookup
}

type Done = (outcome: Uint8Array | Refusal) => void

/** Of a name and a connection; the answer itself may take as long as the call says. */
const CONNECT_MS = 10_000
const CLOSED = new Error('the connection was closed')

export function createHttpLimbClient({
  clock,
  networks,
  lookup = lookupBySystem,
}: HttpLimbClientOptions): HttpLimbClient {
  return {
    post(call, done) {
      const configured = networks().length === 0 ? null : networksOf(networks())
      const exchange = new Exchange(call, clock, lookup, done)
      exchange.start(configured ?? networksOf([unmappedAddress(call.address)]), configured !== null)
      return exchange
    },
  }
}

class Exchange implements InvocationDelivery {
  readonly #call: HttpInvocation
  readonly #clock: Clock
  readonly #lookup: Lookup
  readonly #done: Done
  #request: ClientRequest | null = null
  #cancelTimer = () => {}
  sent = false
  #begun: Begun | null = null
  #over = false

  constructor(call: HttpInvocation, clock: Clock, lookup: Lookup, done: Done) {
    this.#call = call
    this.#clock = clock
    this.#lookup = lookup
    this.#done = done
  }

  start(allowed: ReturnType<typeof networksOf>, configured: boolean): void {
    const { endpointUrl, nodeId } = this.#call
    const url = invokeUrl(endpointUrl)
    this.#cancelTimer = this.#clock.after(CONNECT_MS, () =>
      this.#end(
        new Refusal(
          'node_offline',
          `${nodeId} could not be reached at ${url.host} within ${CONNECT_MS / 1000} s`,
        ),
      ),
    )
    resolveAllowed(url.hostname, allowed, this.#lookup)
      .then((to) => {
        if (this.#over) return
        if (to) this.#send(url, to)
        else this.#end(this.#forbidden(url, configured))
      })
      .catch((error: unknown) => this.#failed(url, error))
  }

  giveUp(): void {
    this.#over = true
    this.#cancelTimer()
    this.#request?.destroy()
  }

  #send(url: URL, to: Resolved): void {
    const { body, secret, nodeId } = this.#call
    const time = String(Math.floor(this.#clock.wallMs() / 1000))
    const nonce = newId('')
    const request = (url.protocol === 'https:' ? tlsRequest : plainRequest)(url, {
      method: 'POST',
      // A connection of its own: a kept one could be to an address that is not allowed any more.
      agent: false,
      // The name is in Host and in TLS; the connection goes where it was looked up, so that a name server which
      // answers differently a second time (DNS rebinding) is not asked.
      lookup: (_host, options, callback) =>
        options.all ? callback(null, [to]) : callback(null, to.address, to.family),
      maxHeaderSize: MAX_HEADER_BYTES,
      headers: {
        'content-type': 'application/json',
        'content-length': body.length,
        'accept-encoding': 'identity',
        'user-agent': 'limb-bridge',
        'limb-node': nodeId,
        'limb-time': time,
        'limb-nonce': nonce,
        'limb-signature': invokeSignature(secret, time, nonce, body),
      },
    })
    this.#request = request
    request.once('socket', (socket) =>
      socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
        this.sent = true
        this.#cancelTimer()
      }),
    )
    request.once('response', (response) => this.#answered(url, response))
    request.once('upgrade', (response, socket) => {
      socket.destroy()
      this.#answered(url, response)
    })
    request.on('error', (error) => this.#failed(url, error))
    // The last that comes in any case; an answer that has begun says itself how it ends.
    request.once('close', () => {
      if (!this.#begun) this.#failed(url, CLOSED)
    })
    request.end(body)
  }

  #answered(url: URL, response: IncomingMessage): void {
    const refusal = this.#refusedAnswer(url, response)
    if (refusal) {
      this.#end(refusal)
      return
    }
    const chunks: Buffer[] = []
    const begun = { response, bytes: 0 }
    this.#begun = begun
    response.on('data', (chunk: Buffer) => {
      begun.bytes += chunk.length
      if (begun.bytes > LIMITS.resultBytes) this.#end(this.#tooLarge())
      else chunks.push(chunk)
    })
    response.once('end', () => this.#end(Buffer.concat(chunks)))
    response.once('aborted', () => this.#failed(url, CLOSED))
    response.on('error', (error) => this.#failed(url, error))
  }

  #refusedAnswer(url: URL, { statusCode = 0, headers }: IncomingMessage): Refusal | null {
    const { nodeId } = this.#call
    if (statusCode >= 300 && statusCode < 400) {
      return new Refusal(
        'node_error',
        `${nodeId} answered with a redirect (${statusCode}), which is not followed; it must register its own endpoint`,
      )
    }
    if (statusCode === 401) {
      return new Refusal(
        'node_error',
        `${nodeId} does not accept the signature (401); its clock may be wrong, or it must register again to be told its secret`,
      )
    }
    if (statusCode !== 200) {
      const text = `${nodeId} answered ${statusCode} at ${url.host}; it must answer 200 with the JSON of a result`
      return new Refusal('node_error', text)
    }
    if ((headers['content-encoding'] ?? 'identity') !== 'identity') {
      return new Refusal('node_error', `${nodeId} compressed its answer, which it was asked not to`)
    }
    return Number(headers['content-length'] ?? 0) > LIMITS.resultBytes ? this.#tooLarge() : null
  }

  #tooLarge(): Refusal {
    return new Refusal(
      'node_error',
      `${this.#call.nodeId} answered more than ${LIMITS.resultBytes} bytes; it must send large things elsewhere and tell where in artifactUri`,
    )
  }

  #forbidden(url: URL, configured: boolean): Refusal {
    const { nodeId, address } = this.#call
    const where = configured
      ? 'which invocation.httpNetworks does not allow'
      : `which is not at ${address}, where ${nodeId} itself connects from; invocation.httpNetworks can allow it`
    return new Refusal('node_offline', `${nodeId} wants to be invoked at ${url.hostname}, ${where}`)
  }

  #failed(url: URL, error: unknown): void {
    if (this.#over) return
    const { nodeId } = this.#call
    this.#end(
      this.sent
        ? new Refusal(
            'node_error',
            `${nodeId} ${brokenAnswer(url.host, error, this.#begun)}; whether the command ran is not known`,
          )
        : new Refusal(
            'node_offline',
            `${nodeId} cannot be reached at ${url.host}: ${connectionFailure(error)}`,
          ),
    )
  }

  #end(outcome: Uint8Array | Refusal): void {
    if (this.#over) return
    this.giveUp()
    this.#done(outcome)
  }
}

function invokeUrl(endpointUrl: string): URL {
  const url = new URL(endpointUrl)
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/invoke`
  url.hash = ''
  return url
}
