import { putNewest } from '../../kernel/newest.ts'
import type { KeyHash } from '../../kernel/secrets.ts'
import { keyMatches } from '../../kernel/secrets.ts'
import type { Role } from '../../protocol/names.ts'
import type { Identity, Session, SessionEnd } from '../ports.ts'

/** Names that are remembered as invalidated: between CONNECT and CONNACK lie seconds. */
const MAX_INVALIDATED = 1000

type CandidateIdentity = Extract<Session['identity'], { kind: 'candidate' }>

/** Names what a session is counted as: `candidate`, `limb`, or the role of its principal. */
export type SessionRole = 'candidate' | 'limb' | Role

function roleOf({ identity }: Session): SessionRole {
  return identity.kind === 'principal' ? identity.role : identity.kind
}

/** The name a session acts under. */
export function nameOf({ identity }: Session): string {
  return nameOfIdentity(identity)
}

function nameOfIdentity(identity: Identity): string {
  return identity.kind === 'principal' ? identity.name : identity.nodeId
}

/** Waits for the end of what an identity may do. */
interface EndWatch {
  readonly identity: Identity
  readonly ended: () => void
}

/**
 * The live sessions by name, each known by object identity. A node has at most one limb session and any number
 * of candidates (bounded by the broker's limits on connections).
 */
export class SessionTable {
  readonly #byName = new Map<string, Set<Session>>()
  readonly #roles: Record<SessionRole, number> = {
    candidate: 0,
    limb: 0,
    viewer: 0,
    agent: 0,
    operator: 0,
    admin: 0,
  }

  /** The epoch in which each identity was admitted. */
  readonly #admittedIn = new WeakMap<Identity, number>()
  /** The newest epochs in which sessions of a name were ended, oldest first. */
  readonly #invalidated = new Map<string, number>()
  #epoch = 0
  /** Watches of those who act without a session here, over HTTP, by the names of their identities. */
  readonly #watches = new Map<string, Set<EndWatch>>()

  /** The number of live sessions of each role. */
  get roles(): Readonly<Record<SessionRole, number>> {
    return this.#roles
  }

  add(session: Session): void {
    const name = nameOf(session)
    const set = this.#byName.get(name)
    if (set) set.add(session)
    else this.#byName.set(name, new Set([session]))
    this.#roles[roleOf(session)]++
  }

  delete(session: Session): void {
    const name = nameOf(session)
    const set = this.#byName.get(name)
    if (!set?.delete(session)) return
    if (set.size === 0) this.#byName.delete(name)
    this.#roles[roleOf(session)]--
  }

  /** Now, in the order of what is invalidated. */
  get epoch(): number {
    return this.#epoch
  }

  /** It may come in by what was known in `epoch`; its session opens later. */
  recordAdmission(identity: Identity, epoch: number): void {
    this.#admittedIn.set(identity, epoch)
  }

  /** Takes who acts now for the first time as admitted now: its role was read a moment ago, as those of uplinks are. */
  recordFirstUse(identity: Identity): void {
    if (!this.#admittedIn.has(identity)) this.#admittedIn.set(identity, this.#epoch)
  }

  /** Invalidates the admission of whoever came in under this name before now and has no open session yet: key or password ended. */
  invalidate(name: string): void {
    this.#invalidate(name)
    this.#tellEnded(name)
  }

  #invalidate(name: string): void {
    putNewest(this.#invalidated, name, ++this.#epoch, MAX_INVALIDATED)
  }

  /**
   * Calls `ended` once when this identity may act no more: its password, role or token has ended, or ends in a moment.
   * Returns what ends the watch.
   */
  whenEnded(identity: Identity, ended: () => void): () => void {
    if (this.isInvalidated({ identity })) {
      ended()
      return () => undefined
    }
    const name = nameOfIdentity(identity)
    const watch = { identity, ended }
    const all = this.#watches.get(name) ?? new Set()
    this.#watches.set(name, all.add(watch))
    return () => this.#unwatch(name, watch)
  }

  #unwatch(name: string, watch: EndWatch): void {
    const all = this.#watches.get(name)
    all?.delete(watch)
    if (all?.size === 0) this.#watches.delete(name)
  }

  #tellEnded(name: string, now = Number.NEGATIVE_INFINITY): void {
    for (const watch of [...(this.#watches.get(name) ?? [])]) {
      if (!this.isInvalidated(watch) && !hasEnded(watch.identity, now)) continue
      this.#unwatch(name, watch)
      watch.ended()
    }
  }

  /** Returns whether its name, or its token, was invalidated since it was admitted. */
  isInvalidated({ identity }: Pick<Session, 'identity'>): boolean {
    if (identity.kind === 'candidate' || isLocal({ identity })) return false
    const name = nameOfIdentity(identity)
    const token = identity.kind === 'principal' ? identity.tokenId : undefined
    const ofName = this.#invalidated.get(name) ?? 0
    const ofToken = token === undefined ? 0 : (this.#invalidated.get(tokenName(name, token)) ?? 0)
    return Math.max(ofName, ofToken) > (this.#admittedIn.get(identity) ?? this.#epoch)
  }

  /** A candidate becomes the limb it asked to be; its session goes on under the same name. */
  promote(session: Session, nodeId: string): void {
    const known = this.has(session)
    if (known) this.#roles[roleOf(session)]--
    session.identity = { kind: 'limb', nodeId }
    if (known) this.#roles[roleOf(session)]++
  }

  has(session: Session): boolean {
    return this.#byName.get(nameOf(session))?.has(session) ?? false
  }

  /** A copy: callers end sessions while they walk it. */
  named(name: string): readonly Session[] {
    return [...(this.#byName.get(name) ?? [])]
  }

  /** The one that counts. Those that it has replaced are here too until their connections have closed. */
  limb(nodeId: string): Session | undefined {
    return this.named(nodeId).findLast((session) => session.identity.kind === 'limb' && session.alive)
  }

  /** Candidates for `nodeId` that hold the key and are not ended, the newest last. */
  candidatesWith(nodeId: string, key: KeyHash): readonly Session[] {
    return this.named(nodeId).filter((session) => session.alive && candidateHolds(session, key))
  }

  /** Ends the sessions that signed in with this token, and lets in none that is about to open with it. */
  endToken(principal: string, tokenId: string): void {
    this.#invalidate(tokenName(principal, tokenId))
    this.#tellEnded(principal)
    for (const session of this.named(principal)) {
      if (session.identity.kind === 'principal' && session.identity.tokenId === tokenId)
        session.end('refused', true)
    }
  }

  /** Ends the sessions whose token has ended by then. */
  endExpired(now: number): void {
    const ended: Session[] = []
    for (const set of this.#byName.values())
      for (const session of set) if (hasEnded(session.identity, now)) ended.push(session)
    for (const session of ended) session.end('refused', true)
    for (const name of [...this.#watches.keys()]) this.#tellEnded(name, now)
  }

  /** Ends the sessions of the control socket that act under a name which is a limb's from now on. */
  endLocal(name: string): void {
    for (const session of this.named(name)) if (isLocal(session)) session.end('refused', false)
  }

  endAll(name: string, why: SessionEnd): void {
    for (const session of this.named(name)) session.end(why, false)
  }
}

/** Returns whether it came over the control socket, where nothing but the file mode vouches for its name. */
export function isLocal({ identity }: Pick<Session, 'identity'>): boolean {
  return identity.kind === 'principal' && identity.local
}

/** Returns whether the time of the token that was signed in with is over; `now` is running time. */
export function hasEnded(identity: Identity, now: number): boolean {
  return identity.kind === 'principal' && identity.endsAt !== undefined && now >= identity.endsAt
}

/** Returns the name under which a token is invalidated; names hold no blank. */
function tokenName(principal: string, tokenId: string): string {
  return `${principal} ${tokenId}`
}

function candidateHolds(session: Session, key: KeyHash): boolean {
  const identity: Session['identity'] | CandidateIdentity = session.identity
  return identity.kind === 'candidate' && identity.key !== undefined && keyMatches(key, identity.key)
}
