import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { SecureContext } from 'node:tls'
import type { HttpProbe, ProbeOutcome } from '../../bridge/ports.ts'
import type { Clock } from '../../kernel/clock.ts'
import type { AllowedNetworks } from '../../kernel/networks.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { brokenAnswer } from '../outbound/broken-answer.ts'
import { endpointOf, hostOf, portOf } from '../outbound/channel.ts'
import { connectionFailure } from '../outbound/failure.ts'
import { Gathered } from '../outbound/gathered.ts'
import { type Lookup, type Resolved, resolveAllowed } from '../outbound/networks.ts'
import { type Race, raceToConnect } from '../outbound/race.ts'
import { sendJson } from '../outbound/request.ts'
import type { PacketTurns } from '../packet-turns.ts'

/** Asks a limb that is an HTTP server whether it is there: `GET <endpointUrl>/health`. */

/** The time for all of it; the shortest interval between two probes is as long. */
const PROBE_MS = 5000
const CLOSED = new Error('the connection was closed')
const NO_BODY = new Uint8Array(0)

interface Parts {
  readonly clock: Clock
  readonly lookup: Lookup
  /** The addresses that it may go to, which are those of an invocation. */
  readonly allowed: AllowedNetworks
  readonly secureContext: () => SecureContext
  readonly turns: PacketTurns
}

export function startProbe(
  probe: HttpProbe,
  parts: Parts,
  done: (outcome: ProbeOutcome) => void,
): () => void {
  const exchange = new ProbeExchange(probe, parts, done)
  exchange.start()
  return () => exchange.giveUp()
}

class ProbeExchange {
  readonly #url: URL
  readonly #parts: Parts
  readonly #done: (outcome: ProbeOutcome) => void
  #race: Race | undefined
  #request: ClientRequest | undefined
  #cancelTimer = () => {}
  #sent = false
  #over = false

  constructor({ endpointUrl }: HttpProbe, parts: Parts, done: (outcome: ProbeOutcome) => void) {
    this.#url = endpointOf(endpointUrl, 'health')
    this.#parts = parts
    this.#done = done
  }

  start(): void {
    const { clock, allowed, lookup } = this.#parts
    this.#cancelTimer = clock.after(PROBE_MS, () => this.#fail(`did not answer within ${PROBE_MS / 1000} s`))
    resolveAllowed(hostOf(this.#url), allowed, lookup)
      .then((addresses) => this.#connect(addresses))
      .catch((error: unknown) => this.#failed(error))
  }

  giveUp(): void {
    this.#over = true
    this.#cancelTimer()
    this.#race?.giveUp()
    this.#request?.destroy()
  }

  #connect(addresses: readonly Resolved[]): void {
    if (this.#over) return
    if (addresses.length === 0) {
      this.#fail(
        'has no address that it may be asked at: only the one that it registered from, unless that is this machine, and those of invocation.httpNetworks',
      )
      return
    }
    const context = this.#url.protocol === 'https:' ? this.#parts.secureContext() : undefined
    this.#race = raceToConnect({
      addresses,
      port: portOf(this.#url),
      clock: this.#parts.clock,
      connected: (socket) => this.#send(socket, context),
      failed: (error) => this.#failed(error),
    })
  }

  #send(socket: Socket, context: SecureContext | undefined): void {
    this.#request = sendJson(socket, {
      url: this.#url,
      context,
      method: 'GET',
      body: NO_BODY,
      headers: {},
      turns: this.#parts.turns,
      sending: () => {
        this.#sent = true
      },
      answered: (response) => this.#answered(response),
      failed: (error) => this.#failed(error),
      closed: () => this.#failed(CLOSED),
    })
  }

  #answered(response: IncomingMessage): void {
    const { statusCode = 0 } = response
    if (statusCode >= 300 && statusCode < 400) {
      this.#fail(`answered with a redirect (${statusCode}), which is not followed`)
    } else if (statusCode < 200 || statusCode >= 400) {
      this.#fail(`answered ${statusCode}; it must answer 200 while it is well`)
    } else {
      this.#read(response)
    }
  }

  /** A success is a sign of life however its body ends; a body that is too large says no more than that. */
  #read(response: IncomingMessage): void {
    const body = new Gathered()
    response.on('data', (chunk: Buffer) => {
      if (body.length + chunk.length > LIMITS.heartbeatBytes) this.#end({ body: NO_BODY })
      else body.push(chunk)
    })
    response.once('end', () => this.#end({ body: body.bytes() }))
    response.on('error', () => this.#end({ body: NO_BODY }))
    response.once('close', () => this.#end({ body: NO_BODY }))
  }

  #failed(error: unknown): void {
    if (this.#sent) this.#fail(brokenAnswer(this.#url.host, error, undefined))
    else this.#fail(`cannot be reached: ${connectionFailure(error)}`)
  }

  #fail(failure: string): void {
    this.#end({ failure })
  }

  #end(outcome: ProbeOutcome): void {
    if (this.#over) return
    this.giveUp()
    this.#done(outcome)
  }
}
