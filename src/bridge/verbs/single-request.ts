import { encodeJson } from '../../protocol/encode.ts'
import { isVerb, VERBS } from '../../protocol/verbs.ts'
import type { Identity, Inbound, Session } from '../ports.ts'
import { signInEnded } from '../sign-in/refusals.ts'

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

/** The parts of the core that a request needs. */
export interface SingleRequestCore extends Pick<Inbound, 'message' | 'closed'> {
  whenEnded(identity: Identity, ended: () => void): () => void
}

/**
 * Runs the request as if it came from a session that lasts as long as it, and resolves with the whole response. When
 * the signal is aborted the session is lost, as when a client goes; the response is still made. When its principal may act no
 * more it is lost too, and one that waits for a limb or a person is answered at once.
 */
export function singleRequest(core: SingleRequestCore, request: SingleRequest): Promise<Uint8Array> {
  const { identity, verb, payload, signal } = request
  const principal = identity.kind === 'principal' ? identity.name : ''
  return new Promise((resolve, reject) => {
    let isAlive = true
    let unwatch = () => {}
    const stop = () => {
      signal.removeEventListener('abort', gone)
      unwatch()
    }
    const isThere = () => isAlive && !signal.aborted
    const session = sessionOf(request, isThere, (response) => {
      stop()
      resolve(response)
    })
    const gone = () => {
      isAlive = false
      core.closed(session, 'lost')
    }
    const ended = () => {
      // What takes no time ends by itself: it may be what has ended its own sign-in.
      if (!isVerb(verb) || !VERBS[verb].long) return
      gone()
      stop()
      resolve(encodeJson({ ok: false, error: signInEnded(principal).body() }))
    }
    signal.addEventListener('abort', gone, { once: true })
    unwatch = core.whenEnded(identity, ended)
    if (!isAlive) return
    core.message(session, { kind: 'request', principal, verb }, payload).catch((error: unknown) => {
      stop()
      reject(error)
    })
  })
}

function sessionOf(
  { identity, address, overheadMs }: SingleRequest,
  isAlive: () => boolean,
  respond: (response: Uint8Array) => void,
): Session {
  return {
    identity,
    clientId: 'http',
    overheadMs,
    address,
    get alive() {
      return isAlive()
    },
    respond: (_verb, response) => respond(response),
    subscribedTo: () => false,
    send: () => false,
    end: () => undefined,
  }
}
