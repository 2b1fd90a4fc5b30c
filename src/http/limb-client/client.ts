import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { SecureContext } from 'node:tls'
import type { HttpInvocation, HttpLimbClient, InvocationDelivery } from '../../bridge/ports.ts'
import type { Clock } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { invokeSignature, invokeSignature2 } from '../../kernel/invoke-signature.ts'
import { type Network, networksOf } from '../../kernel/networks.ts'
import { newId } from '../../kernel/secrets.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { type Begun, brokenAnswer } from '../outbound/broken-answer.ts'
import { endpointOf, hostOf, portOf } from '../outbound/channel.ts'
import { connectionFailure } from '../outbound/failure.ts'
import { Gathering, type GatheringBody } from '../outbound/gathering.ts'
import { lookupNames } from '../outbound/names.ts'
import {
  isOwnMachine,
  type Lookup,
  ownAddressOf,
  type Resolved,
  resolveAllowed,
  sharedLookup,
} from '../outbound/networks.ts'
import { type Race, raceToConnect } from '../outbound/race.ts'
import { readReason } from '../outbound/refused-answer.ts'
import { sendJson } from '../outbound/request.ts'
import { ServerTrust } from '../outbound/trust.ts'
import { PacketTurns } from '../packet-turns.ts'
import { startProbe } from './probe.ts'

/** Invocations to limbs that are HTTP servers: one connection each, to an address that was checked. */

export interface HttpLimbClientOptions {
  readonly clock: Clock
  /** Asked at each invocation. Empty: only the address that the limb's own session comes from. */
  readonly networks: () => readonly Network[]
  /** Asked at each invocation: a file with authorities of limbs, beside those of the machine. */
  readonly caFile?: () => string | null
  /** The system's own when absent. */
  readonly lookup?: Lookup
}

type Done = (outcome: Uint8Array | Refusal, why?: string) => void

/** The time for a name and a connection; the answer itself may take as long as the invocation says. */
const CONNECT_MS = 10_000
const NOT_KNOWN = 'whether the command ran is not known'
const CLOSED = new Error('the connection was closed')

export function createHttpLimbClient({
  clock,
  networks,
  caFile = () => null,
  lookup = lookupNames({ clock }),
}: HttpLimbClientOptions): HttpLimbClient {
  const trust = new ServerTrust('invocation.caFile')
  const shared = sharedLookup(lookup)
  const secureContext = () => trust.contextFor(caFile())
  const shares = { turns: new PacketTurns(clock), gathering: new Gathering() }
  const configuredNetworks = () => (networks().length === 0 ? undefined : networksOf(networks()))
  return {
    probe(probe, done) {
      const allowed = configuredNetworks() ?? ownAddressOf(probe.address)
      return startProbe(probe, { clock, lookup: shared, allowed, secureContext, turns: shares.turns }, done)
    },
    post(invocation, done) {
      const configured = configuredNetworks()
      const exchange = new Exchange(invocation, { clock, lookup: shared, secureContext, ...shares }, done)
      exchange.start(configured ?? ownAddressOf(invocation.address), configured !== undefined)
      return exchange
    },
    get heldBytes() {
      return shares.gathering.bytes
    },
  }
}

/** The parts that all exchanges share. */
interface Parts {
  readonly clock: Clock
  readonly lookup: Lookup
  readonly secureContext: () => SecureContext
  readonly turns: PacketTurns
  readonly gathering: Gathering
}

class Exchange implements InvocationDelivery {
  readonly #invocation: HttpInvocation
  readonly #clock: Clock
  readonly #lookup: Lookup
  readonly #secureContext: () => SecureContext
  readonly #turns: PacketTurns
  readonly #gathering: Gathering
  readonly #done: Done
  #race: Race | undefined
  #request: ClientRequest | undefined
  #cancelTimer = () => {}
  sent = false
  #begun: Begun | undefined
  /** The body that comes, among those of all. */
  #place: GatheringBody | undefined
  /** The status was an error. */
  #refused = false
  #over = false

  constructor(
    invocation: HttpInvocation,
    { clock, lookup, secureContext, turns, gathering }: Parts,
    done: Done,
  ) {
    this.#invocation = invocation
    this.#turns = turns
    this.#gathering = gathering
    this.#clock = clock
    this.#lookup = lookup
    this.#secureContext = secureContext
    this.#done = done
  }

  start(allowed: ReturnType<typeof networksOf>, configured: boolean): void {
    const { endpointUrl } = this.#invocation
    const url = endpointOf(endpointUrl, 'invoke')
    this.#cancelTimer = this.#clock.after(CONNECT_MS, () =>
      this.#unreachable(url, `no connection within ${CONNECT_MS / 1000} s`),
    )
    resolveAllowed(hostOf(url), allowed, this.#lookup)
      .then((addresses) => {
        if (this.#over) return
        if (addresses.length > 0) this.#connect(url, addresses)
        else this.#end(this.#forbidden(url, configured))
      })
      .catch((error: unknown) => this.#failed(url, error))
  }

  giveUp(): void {
    this.#over = true
    if (this.#place !== undefined) this.#gathering.leave(this.#place)
    this.#cancelTimer()
    this.#race?.giveUp()
    this.#request?.destroy()
  }

  /**
   * The name is in Host and in TLS; the connection goes where the name was looked up, so that a name server which
   * answers differently a second time (DNS rebinding) is not asked.
   */
  #connect(url: URL, addresses: readonly Resolved[]): void {
    // Before the connection: a file that cannot be used is no limb's fault.
    const context = url.protocol === 'https:' ? this.#secureContext() : undefined
    this.#race = raceToConnect({
      addresses,
      port: portOf(url),
      clock: this.#clock,
      connected: (socket) => this.#send(url, socket, context),
      failed: (error) => this.#failed(url, error),
    })
  }

  #send(url: URL, socket: Socket, context: SecureContext | undefined): void {
    const { body, secret, nodeId } = this.#invocation
    const time = String(Math.floor(this.#clock.wallMs() / 1000))
    const nonce = newId('')
    this.#request = sendJson(socket, {
      url,
      context,
      body,
      headers: {
        'limb-node': nodeId,
        'limb-time': time,
        'limb-nonce': nonce,
        'limb-signature': invokeSignature(secret, time, nonce, body),
        'limb-signature-2': invokeSignature2(secret, time, nonce, body),
      },
      turns: this.#turns,
      sending: () => this.#mayHaveSent(),
      answered: (response) => this.#answered(url, response),
      failed: (error) => this.#failed(url, error),
      // An answer that has begun says itself how it ends.
      closed: () => {
        if (!this.#begun) this.#failed(url, CLOSED)
      },
    })
  }

  #mayHaveSent(): void {
    this.sent = true
    this.#cancelTimer()
  }

  #answered(url: URL, response: IncomingMessage): void {
    const { statusCode = 0 } = response
    if (statusCode >= 400) {
      // From here on the status is the outcome, however the body ends.
      this.#begun = { response, bytes: 0 }
      this.#refused = true
      readReason(response, this.#clock, (reason) => this.#end(this.#refusedStatus(url, statusCode, reason)))
      return
    }
    const refusal = this.#refusedAnswer(url, response)
    if (refusal) {
      this.#end(refusal)
      return
    }
    const place = this.#gathering.enter(() => this.#end(this.#noRoom()))
    this.#place = place
    const begun = { response, bytes: 0 }
    this.#begun = begun
    response.on('data', (chunk: Buffer) => {
      begun.bytes += chunk.length
      if (begun.bytes > LIMITS.resultBytes) this.#end(this.#tooLarge())
      else this.#gathering.push(place, chunk)
    })
    response.once('end', () => this.#end(place.body.bytes()))
    response.once('aborted', () => this.#failed(url, CLOSED))
    response.on('error', (error) => this.#failed(url, error))
  }

  #refusedAnswer(url: URL, { statusCode = 0, headers }: IncomingMessage): Refusal | undefined {
    const { nodeId } = this.#invocation
    if (statusCode >= 300 && statusCode < 400) {
      return new Refusal(
        'node_error',
        `${nodeId} answered with a redirect (${statusCode}), which is not followed; it must register its own endpoint`,
      )
    }
    if (statusCode !== 200) {
      const text = `${nodeId} answered ${statusCode} at ${url.host}; it must answer 200 with the JSON of a result`
      return new Refusal('node_error', text)
    }
    if ((headers['content-encoding'] ?? 'identity') !== 'identity') {
      return new Refusal('node_error', `${nodeId} compressed its answer, which it was asked not to`)
    }
    return Number(headers['content-length'] ?? 0) > LIMITS.resultBytes ? this.#tooLarge() : undefined
  }

  #refusedStatus(url: URL, status: number, reason: string): Refusal {
    const { nodeId } = this.#invocation
    const why = reason === '' ? '' : `: ${JSON.stringify(reason)}`
    const text =
      status === 401
        ? `${nodeId} does not accept the signature (401)${why}; its clock may be wrong, or it must register again to be told its secret`
        : `${nodeId} answered ${status} at ${url.host}${why}; it must answer 200 with the JSON of a result`
    const words = reason === '' ? {} : { nodeError: reason }
    return new Refusal('node_error', text, undefined, { httpStatus: status, ...words })
  }

  #tooLarge(): Refusal {
    return new Refusal(
      'node_error',
      `${this.#invocation.nodeId} answered more than ${LIMITS.resultBytes} bytes; it must send large things elsewhere and tell where in artifactUri`,
    )
  }

  #noRoom(): Refusal {
    return new Refusal(
      'node_error',
      `the answer of ${this.#invocation.nodeId} came while large answers of limbs filled the memory that they may have; ${NOT_KNOWN}`,
    )
  }

  #forbidden(url: URL, configured: boolean): Refusal {
    const { nodeId, address } = this.#invocation
    const isOwn = !configured && address !== undefined && isOwnMachine(address)
    const where =
      !configured && address === undefined
        ? 'and has neither connected nor registered, so that its address is not known; invocation.httpNetworks can allow it'
        : isOwn
          ? `and connects from ${address}, this machine, where only invocation.httpNetworks lets a limb be invoked (such as 127.0.0.1)`
          : configured
            ? 'which invocation.httpNetworks does not allow'
            : `which is not at ${address}, where ${nodeId} itself connects from; invocation.httpNetworks can allow it`
    return new Refusal('node_offline', `${nodeId} wants to be invoked at ${url.hostname}, ${where}`)
  }

  #failed(url: URL, error: unknown): void {
    if (this.#over || this.#refused) return
    if (!this.sent) {
      this.#unreachable(url, connectionFailure(error))
      return
    }
    const { nodeId } = this.#invocation
    const broken = `${nodeId} ${brokenAnswer(url.host, error, this.#begun)}; ${NOT_KNOWN}`
    if (this.#begun) this.#end(new Refusal('node_error', broken))
    // What speaks no HTTP is told from nobody: see `#unreachable`.
    else this.#end(new Refusal('node_error', `${nodeId} did not answer at ${url.host}; ${NOT_KNOWN}`), broken)
  }

  /** Says the same whatever the reason is, or a limb's endpoint and its invoker together could look for open ports. */
  #unreachable(url: URL, why: string): void {
    const text = `${this.#invocation.nodeId} cannot be reached at ${url.host}`
    const refusal = new Refusal('node_offline', `${text}; the log of the bridge says why`)
    this.#end(refusal, `${text}: ${why}`)
  }

  #end(outcome: Uint8Array | Refusal, why?: string): void {
    if (this.#over) return
    this.giveUp()
    this.#done(outcome, why)
  }
}
