import type { KeyHash } from '../kernel/secrets.ts'
import { keyMatches } from '../kernel/secrets.ts'
import type { Session, SessionEnd } from './ports.ts'

type CandidateIdentity = Extract<Session['identity'], { kind: 'candidate' }>

/** The name a session acts under. */
export function nameOf(session: Session): string {
  const { identity } = session
  return identity.kind === 'principal' ? identity.name : identity.nodeId
}

/**
 * The live sessions by name, each known by object identity. A node has at most one limb session and any number
 * of candidates (bounded by the broker's limits on connections).
 */
export class SessionTable {
  readonly #byName = new Map<string, Set<Session>>()

  add(session: Session): void {
    const name = nameOf(session)
    const set = this.#byName.get(name)
    if (set) set.add(session)
    else this.#byName.set(name, new Set([session]))
  }

  delete(session: Session): void {
    const name = nameOf(session)
    const set = this.#byName.get(name)
    if (!set?.delete(session)) return
    if (set.size === 0) this.#byName.delete(name)
  }

  has(session: Session): boolean {
    return this.#byName.get(nameOf(session))?.has(session) ?? false
  }

  /** A copy: callers end sessions while they walk it. */
  named(name: string): readonly Session[] {
    return [...(this.#byName.get(name) ?? [])]
  }

  limb(nodeId: string): Session | undefined {
    return this.named(nodeId).find((session) => session.identity.kind === 'limb')
  }

  /** Candidates for `nodeId` that hold the key, the newest last. */
  candidatesWith(nodeId: string, key: KeyHash): readonly Session[] {
    return this.named(nodeId).filter((session) => candidateHolds(session, key))
  }

  endAll(name: string, why: SessionEnd): void {
    for (const session of this.named(name)) session.end(why, false)
  }
}

function candidateHolds(session: Session, key: KeyHash): boolean {
  const identity: Session['identity'] | CandidateIdentity = session.identity
  return identity.kind === 'candidate' && identity.key !== null && keyMatches(key, identity.key)
}
