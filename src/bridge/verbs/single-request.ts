import type { Identity, Inbound, Session } from '../ports.ts'

/** Is one request of a principal that has no session: over HTTP, or in a tool of the bridge itself. */
export interface SingleRequest {
  readonly identity: Identity
  /** The address that it comes from, as the log shows it. */
  readonly address: string
  readonly verb: string
  readonly payload: Uint8Array
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal
  /** The milliseconds of the event loop that it has cost so far; its principal has less time for others. */
  readonly overheadMs?: number
}

/**
 * Runs the request as if it came from a session that lasts as long as it, and resolves with the whole response. When
 * the signal is aborted the session is lost, as when a client goes; the response is still made.
 */
export function singleRequest(core: Inbound, request: SingleRequest): Promise<Uint8Array> {
  const { identity, verb, payload, signal } = request
  const principal = identity.kind === 'principal' ? identity.name : ''
  return new Promise((resolve, reject) => {
    const session = sessionOf(request, (response) => {
      signal.removeEventListener('abort', gone)
      resolve(response)
    })
    const gone = () => core.closed(session, 'lost')
    signal.addEventListener('abort', gone, { once: true })
    core.message(session, { kind: 'request', principal, verb }, payload).catch(reject)
  })
}

function sessionOf(
  { identity, address, signal, overheadMs }: SingleRequest,
  respond: (response: Uint8Array) => void,
): Session {
  return {
    identity,
    clientId: 'http',
    overheadMs,
    address,
    get alive() {
      return !signal.aborted
    },
    respond: (_verb, response) => respond(response),
    subscribedTo: () => false,
    send: () => false,
    end: () => undefined,
  }
}
