import { Refusal } from '../../kernel/errors.ts'
import { parseJson } from '../../protocol/decode.ts'
import { encodeJson } from '../../protocol/encode.ts'
import { transactionSchema } from '../../protocol/schemas.ts'
import type { Address } from '../../protocol/topics.ts'
import type { Inbound, Session, Store } from '../ports.ts'

/**
 * Requests of principals that come through another broker. That broker has authenticated them, or has not: the
 * bridge cannot know. What it holds to is the configured list of names, and the role that each has here.
 */

/** The bytes that are read of a request that is refused anyway. */
const MAX_REFUSED_BYTES = 4096

export interface RemoteVerbRequest {
  readonly principal: string
  readonly verb: string
  readonly payload: Uint8Array
  readonly respond: (verb: string, payload: Uint8Array) => void
}

/** One connection to another broker. */
export interface RemotePeer {
  /** Rejects only for a broken invariant. */
  handle(request: RemoteVerbRequest): Promise<void>
  /** The connection is gone: what waits on its behalf may end. */
  close(): void
}

/** `from` is shown as the address: `uplink:home`. */
export function remotePeer(
  core: Pick<Inbound, 'message' | 'closed'>,
  store: Store,
  from: string,
): RemotePeer {
  const sessions = new Map<string, Session>()
  let open = true

  /** One for each principal, so that the bound on requests under way is the same as for any session. */
  function sessionOf(
    { principal, respond }: RemoteVerbRequest,
    role: 'viewer' | 'agent' | 'operator' | 'admin',
  ) {
    let session = sessions.get(principal)
    if (session === undefined) {
      session = remoteSession(from, respond, () => open)
      sessions.set(principal, session)
    }
    session.identity = { kind: 'principal', name: principal, role, local: false }
    return session
  }

  return {
    async handle(request) {
      const { principal, verb, payload, respond } = request
      // Read anew each time: a principal that was removed has no rights from then on.
      const record = await store
        .read((tx) => tx.principal(principal))
        .catch((error: unknown) => {
          if (error instanceof Refusal) return error
          throw error
        })
      if (record === null || record instanceof Refusal) {
        const error =
          record ?? new Refusal('forbidden', `this bridge has no principal ${principal}; add it first`)
        respond(verb, encodeJson({ ...transactionIn(payload), ok: false, error: error.body() }))
        return
      }
      const address: Address = { kind: 'request', principal, verb }
      await core.message(sessionOf(request, record.role), address, payload)
    },
    close() {
      open = false
      for (const session of sessions.values()) core.closed(session, 'lost')
      sessions.clear()
    },
  }
}

/** Echoed as it came, so that the asker knows which request was refused. */
function transactionIn(payload: Uint8Array): { transaction?: unknown } {
  try {
    const { transaction } = parseJson(payload, MAX_REFUSED_BYTES) as { transaction?: unknown }
    return transactionSchema.safeParse(transaction).success ? { transaction } : {}
  } catch {
    return {}
  }
}

function remoteSession(
  from: string,
  respond: (verb: string, payload: Uint8Array) => void,
  isOpen: () => boolean,
): Session {
  return {
    identity: { kind: 'candidate', nodeId: '', key: undefined },
    clientId: from,
    address: from,
    get alive() {
      return isOpen()
    },
    respond,
    subscribedTo: () => false,
    send: () => false,
    end: () => undefined,
  }
}
