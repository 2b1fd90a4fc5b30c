import { inConflict } from '../../domain/pairing.ts'
import type { PairingRequestRecord } from '../../domain/records.ts'
import { differenceOf } from '../../domain/widening.ts'
import { iso } from '../../kernel/clock.ts'
import type { RunningClock, RunningMs } from '../../kernel/running-clock.ts'
import type { Capability, PendingPairingRequest, Registration } from '../../protocol/schemas.ts'

/** The requests that wait for an operator, in memory as they are in the store. */
export class PendingPairingRequests {
  readonly #byId = new Map<string, PairingRequestRecord>()
  readonly #byNode = new Map<string, Map<string, PairingRequestRecord>>()
  readonly #running: Pick<RunningClock, 'wallMs'>
  readonly #approved: (nodeId: string) => readonly Capability[]

  constructor(
    running: Pick<RunningClock, 'wallMs'>,
    approved: (nodeId: string) => readonly Capability[] = () => [],
  ) {
    this.#running = running
    this.#approved = approved
  }

  readonly #sizes = new Map<string, number>()
  #bytes = 0
  /** The bytes of registrations whose transaction is under way. */
  #reserved = 0

  /** The bytes that all registrations take, as JSON; those that are being decided are among them. */
  get bytes(): number {
    return this.#bytes + this.#reserved
  }

  /** Counts a registration until it is decided. Returns what gives the place back. */
  reserve(registration: Registration): () => void {
    const size = registrationSize(registration)
    this.#reserved += size
    return () => {
      this.#reserved -= size
    }
  }

  get size(): number {
    return this.#byId.size
  }

  get(requestId: string): PairingRequestRecord | undefined {
    return this.#byId.get(requestId)
  }

  ofNode(nodeId: string): readonly PairingRequestRecord[] {
    return [...(this.#byNode.get(nodeId)?.values() ?? [])]
  }

  /** The limb's own request for more capabilities. */
  wideningOf(nodeId: string): PairingRequestRecord | undefined {
    return this.ofNode(nodeId).find((request) => request.kind === 'widen')
  }

  values(): IterableIterator<PairingRequestRecord> {
    return this.#byId.values()
  }

  put(request: PairingRequestRecord): void {
    this.#resize(request.requestId, registrationSize(request.registration))
    this.#byId.set(request.requestId, request)
    const ofNode = this.#byNode.get(request.nodeId)
    if (ofNode) ofNode.set(request.requestId, request)
    else this.#byNode.set(request.nodeId, new Map([[request.requestId, request]]))
  }

  delete(requestId: string): void {
    const request = this.#byId.get(requestId)
    if (!request) return
    this.#byId.delete(requestId)
    this.#resize(requestId, 0)
    const ofNode = this.#byNode.get(request.nodeId)
    ofNode?.delete(requestId)
    if (ofNode?.size === 0) this.#byNode.delete(request.nodeId)
  }

  #resize(requestId: string, size: number): void {
    this.#bytes += size - (this.#sizes.get(requestId) ?? 0)
    if (size === 0) this.#sizes.delete(requestId)
    else this.#sizes.set(requestId, size)
  }

  /** Shows a request as operators see it: nothing secret is in it. */
  show(request: PairingRequestRecord): PendingPairingRequest {
    const { registration } = request
    return {
      requestId: request.requestId,
      revision: request.revision,
      kind: request.kind,
      nodeId: request.nodeId,
      displayName: registration.displayName,
      platform: registration.platform,
      ...(registration.firmware === undefined ? {} : { firmware: registration.firmware }),
      ...(registration.endpointUrl === undefined ? {} : { endpointUrl: registration.endpointUrl }),
      capabilities: registration.capabilities,
      ...differenceOf(this.#approved(request.nodeId), registration),
      ...(request.code === null ? {} : { code: request.code }),
      conflict: inConflict(request, this.ofNode(request.nodeId)),
      address: request.address,
      requestedAt: iso(request.requestedAt),
      expiresAt: iso(this.#running.wallMs(request.expiresAt as RunningMs)),
    }
  }
}

export function registrationSize(registration: Registration): number {
  return Buffer.byteLength(JSON.stringify(registration))
}
