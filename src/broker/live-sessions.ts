import type { Connection } from './connection.ts'
import type { SessionContext } from './session-context.ts'
import { nameOf } from './session-key.ts'

/** Counts the live sessions of each identity: beyond its limit the oldest goes. */
export class LiveSessions {
  readonly #context: Pick<SessionContext, 'limits'>
  /** Sessions by name, the oldest first. */
  readonly #all = new Map<string, Set<Connection>>()

  constructor(context: Pick<SessionContext, 'limits'>) {
    this.#context = context
  }

  /** Call it when the session has its identity. Who came through the control socket is not counted. */
  enter(session: Connection): void {
    const { identity, peer } = session
    if (peer.local) return
    const name = nameOf(identity)
    const own = this.#all.get(name) ?? new Set()
    this.#all.set(name, own.add(session))
    const { maxSessionsPerPrincipal, maxSessionsPerLimb } = this.#context.limits
    const most = identity.kind === 'limb' ? maxSessionsPerLimb : maxSessionsPerPrincipal
    if (own.size <= most) return
    const [oldest] = own
    if (oldest === undefined || oldest === session) return
    oldest.limited('sessions', { most }, 'too many sessions of one identity: the oldest is closed')
    own.delete(oldest)
    oldest.end('replaced', false)
  }

  leave(session: Connection): void {
    const name = nameOf(session.identity)
    const own = this.#all.get(name)
    own?.delete(session)
    if (own?.size === 0) this.#all.delete(name)
  }
}
