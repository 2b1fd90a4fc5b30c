import { addressGroup } from '../../kernel/address.ts'
import { messageOf, Refusal } from '../../kernel/errors.ts'
import { escapeText } from '../../kernel/escape-text.ts'
import { LogThrottle } from '../../kernel/log-throttle.ts'
import { resemblesToken } from '../../kernel/token.ts'
import { isName } from '../../protocol/names.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import type { Credentials, RefusedConnect } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { Attempts } from './attempts.ts'

/** The same name from the same address is reported once a minute, and a bounded number of all; the others share one. */
const PACE = { quietMs: 60_000, lines: 1, maxKeys: 500, maxLines: 200 } as const

/** The reason under which a refusal is counted. */
export type RefusalReason = 'name' | 'password' | 'too_many' | 'key'

type From = Pick<Credentials, 'address' | 'clientId' | 'version'>

interface RefusalReport {
  readonly reason: string
  readonly message: string
  readonly suppressed: number
  /** The nodeId of the limb that it concerns. */
  readonly nodeId?: string | undefined
  readonly holder?: RefusedConnect['holder']
}

/** Returns whether a user name may be told: a name that somebody can have, and no token in the wrong field. */
export function isShown(name: string): boolean {
  return isName(name) && !resemblesToken(name)
}

/** Shows a user name that nobody has: it may be a password that was typed into the wrong field. */
export function hiddenName(name: string): string {
  return `(no name, ${name.length} characters)`
}

/** The refusal of a request whose principal was removed, or got another password or role, before it began or ended. */
export function signInEnded(name: string): Refusal {
  return new Refusal(
    'unauthorized',
    `${name} was removed, has another password or role, or its token has ended, since it signed in: sign in anew`,
  )
}

/** Log, event and audit row for refused sign-ins, at a pace that a flood cannot turn into a full disk. */
export class RefusedSignIns {
  readonly #context: BridgeContext
  readonly #announce: Announcer['event']
  /** Paces what is refused under a name that somebody has: wrong passwords, ended keys, and who is shut out. */
  readonly #throttle: LogThrottle
  /** Paces the others, which anybody makes any number of: they hide none of those. */
  readonly #nobodys: LogThrottle
  readonly #attempts: Attempts

  constructor(context: BridgeContext, announce: Announcer['event'], attempts: Attempts) {
    this.#attempts = attempts
    this.#context = context
    this.#announce = announce
    this.#throttle = new LogThrottle(context.clock, PACE)
    this.#nobodys = new LogThrottle(context.clock, PACE)
  }

  record(name: string, from: From, reason: string, why: RefusalReason): void {
    this.#context.counters.count('sign_ins_refused', why)
    this.#attempts.refused(name, from.address, reason)
    const message = `sign-in refused: ${reason}`
    // A key is a limb's; a wrong password is a principal's.
    const nodeId = why === 'key' ? name : undefined
    const throttle = isShown(name) ? this.#throttle : this.#nobodys
    throttle.write(JSON.stringify([name, addressGroup(from.address)]), (suppressed) =>
      this.#report(name, from, { reason, message, suppressed, nodeId }),
    )
  }

  /** Records what was refused for its form, or because its client id is another's. */
  connect({ username, clientId, address, version, identity, why, reason, holder }: RefusedConnect): void {
    const given = username ?? clientId
    const isKnown = isShown(given)
    const name = isKnown ? given : hiddenName(given)
    // Until it is known who it is, a name may be a limb's.
    const nodeId = identity?.kind === 'principal' || !isKnown ? undefined : given
    const from = { address, version, clientId: isKnown || clientId !== given ? clientId : name }
    const message = `CONNECT refused: ${reason}`
    this.#nobodys.write(JSON.stringify([name, addressGroup(address), why]), (suppressed) =>
      this.#report(name, from, { reason, message, suppressed, nodeId, holder }),
    )
  }

  /** A refusal for a while begins; `message` says for whom, how long and why. */
  shutOut(name: string, from: From, message: string): void {
    this.#throttle.write(JSON.stringify(['shut out', name, addressGroup(from.address)]), (suppressed) =>
      this.#report(name, from, { reason: message, message, suppressed }),
    )
  }

  stop(): void {
    this.#throttle.stop()
    this.#nobodys.stop()
  }

  #report(name: string, from: From, { reason, message, suppressed, nodeId, holder }: RefusalReport): void {
    const { log, store } = this.#context
    const who = escapeText(name.slice(0, 64))
    const { address, version } = from
    const clientId = escapeText(from.clientId.slice(0, 64))
    const report = { name: who, clientId, address, reason, ...(holder && { holder }), suppressed }
    log.warn({ ...report, ...(version && { version }) }, message)
    this.#announce('sign_in_refused', report)
    store
      .transact((tx) =>
        tx.audit(
          audit(this.#context, 'signin.refused', {
            actor: address,
            // A device with a wrong user name mostly has the right client id: whoever looks for it finds this. Who
            // comes over HTTP has none.
            nodeId: nodeId ?? (version !== undefined && isName(from.clientId) ? from.clientId : undefined),
            outcome: 'refused',
            detail: { name: who, clientId, reason, ...(holder && { holder }), suppressed },
          }),
        ),
      )
      .catch((error: unknown) =>
        log.debug({ error: messageOf(error) }, 'refused sign-in not stored in the audit log'),
      )
  }
}
