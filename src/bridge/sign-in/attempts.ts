import { addressGroup } from '../../kernel/address.ts'
import type { Clock, WallMs } from '../../kernel/clock.ts'
import { escapeText } from '../../kernel/escape-text.ts'
import { putNewest } from '../../kernel/newest.ts'
import { isName } from '../../protocol/names.ts'
import type { Identity, Session } from '../ports.ts'

/** A CONNECT or a registration that was refused. */
export interface RefusedAttempt {
  readonly at: WallMs
  readonly address: string
  readonly reason: string
}

/** A publish or a subscription that was denied. */
export interface DeniedAttempt {
  readonly at: WallMs
  readonly what: string
  readonly topic: string
  /** Shows whether it came from a session without the approved key of its name. */
  readonly asCandidate: boolean
}

export interface Attempt {
  refused?: RefusedAttempt
  denied?: DeniedAttempt
  /** The last registration, if it was refused. */
  registration?: RefusedAttempt
  /** The last connection of a device whose name is no limb's. */
  connected?: { readonly at: WallMs; readonly address: string; registered: boolean }
}

/** Names that are remembered; whoever tries a million of them pushes out the oldest. */
const MAX_NAMES = 2000
/** Addresses (an IPv6 network is one) whose last failed TLS handshake is remembered. */
const MAX_HANDSHAKES = 200
const MAX_TEXT = 200

/**
 * Remembers what was tried last under each name and not allowed, since the start: for whoever asks why a device does
 * not come in.
 */
export class Attempts {
  readonly #clock: Clock
  /** The one that was tried longest ago first. */
  readonly #byName = new Map<string, Attempt>()
  /** The one of longest ago first. */
  readonly #handshakes = new Map<string, RefusedAttempt>()
  readonly #openedAt = new WeakMap<Session, WallMs>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  of(name: string): Readonly<Attempt> {
    return this.#byName.get(name) ?? {}
  }

  refused(name: string, address: string, reason: string): void {
    this.#keep(name).refused = { at: this.#clock.wallMs(), address, reason: clipped(reason) }
  }

  registrationRefused(name: string, address: string, reason: string): void {
    this.#keep(name).registration = { at: this.#clock.wallMs(), address, reason: clipped(reason) }
  }

  /** Forgets the refused one of before: the device has mended what was wrong. */
  registered(name: string): void {
    const attempt = this.#byName.get(name)
    if (attempt === undefined) return
    delete attempt.registration
    if (attempt.connected) attempt.connected.registered = true
  }

  /** Nobody can tell whose it was, but for a certificate that was shown and not believed. */
  handshakeFailed(address: string, reason: string, name?: string): void {
    if (name !== undefined && isName(name)) this.refused(name, address, reason)
    const failed = { at: this.#clock.wallMs(), address, reason: clipped(reason) }
    putNewest(this.#handshakes, addressGroup(address), failed, MAX_HANDSHAKES)
  }

  /** The last failed handshake of each address, the newest first. */
  get handshakes(): readonly RefusedAttempt[] {
    return [...this.#handshakes.values()].reverse()
  }

  denied(identity: Identity, what: string, topic: string): void {
    const name = identity.kind === 'principal' ? identity.name : identity.nodeId
    const asCandidate = identity.kind === 'candidate'
    this.#keep(name).denied = { at: this.#clock.wallMs(), what, topic: clipped(topic), asCandidate }
  }

  opened(session: Session): void {
    const { identity, address } = session
    const at = this.#clock.wallMs()
    this.#openedAt.set(session, at)
    if (identity.kind === 'candidate')
      this.#keep(identity.nodeId).connected = { at, address, registered: false }
  }

  openedAt(session: Session): WallMs | undefined {
    return this.#openedAt.get(session)
  }

  #keep(name: string): Attempt {
    const attempt = this.#byName.get(name) ?? {}
    putNewest(this.#byName, name, attempt, MAX_NAMES)
    return attempt
  }
}

function clipped(text: string): string {
  return escapeText(text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text)
}
