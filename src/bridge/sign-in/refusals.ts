import { messageOf } from '../../kernel/errors.ts'
import { escapeText } from '../../kernel/escape-text.ts'
import { LogThrottle } from '../../kernel/log-throttle.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import type { Credentials } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { Attempts } from './attempts.ts'

/** The same name from the same address is told once a minute; a flood of others is summed up under one. */
const PACE = { quietMs: 60_000, lines: 1, maxKeys: 500 } as const

/** What a refusal is counted as. */
export type RefusalReason = 'name' | 'password' | 'too_many' | 'key'

type From = Pick<Credentials, 'address' | 'clientId'>

interface Told {
  readonly reason: string
  readonly message: string
  readonly suppressed: number
}

/** Log, event and audit row for refused sign-ins, at a pace that a flood cannot turn into a full disk. */
export class RefusedSignIns {
  readonly #world: BridgeContext
  readonly #announce: Announcer['event']
  readonly #throttle: LogThrottle
  readonly #attempts: Attempts

  constructor(world: BridgeContext, announce: Announcer['event'], attempts: Attempts) {
    this.#attempts = attempts
    this.#world = world
    this.#announce = announce
    this.#throttle = new LogThrottle(world.clock, PACE)
  }

  record(name: string, from: From, reason: string, why: RefusalReason): void {
    this.#world.counters.count('sign_ins_refused', why)
    this.#attempts.refused(name, from.address, reason)
    this.#throttle.write(JSON.stringify([name, from.address]), (suppressed) =>
      this.#tell(name, from, { reason, message: `sign-in refused: ${reason}`, suppressed }),
    )
  }

  /** A refusal for a while begins; `message` says for whom, how long and why. */
  shutOut(name: string, from: From, message: string): void {
    this.#throttle.write(JSON.stringify(['shut out', name, from.address]), (suppressed) =>
      this.#tell(name, from, { reason: message, message, suppressed }),
    )
  }

  stop(): void {
    this.#throttle.stop()
  }

  #tell(name: string, { address, clientId }: From, { reason, message, suppressed }: Told): void {
    const { log, store } = this.#world
    const who = escapeText(name.slice(0, 64))
    log.warn({ name: who, address, clientId: escapeText(clientId.slice(0, 64)), reason, suppressed }, message)
    this.#announce('sign_in_refused', { name: who, address, reason, suppressed })
    store
      .transact((tx) =>
        tx.audit(
          audit(this.#world, 'signin.refused', {
            actor: address,
            outcome: 'refused',
            detail: { name: who, reason, suppressed },
          }),
        ),
      )
      .catch((error: unknown) =>
        log.debug({ error: messageOf(error) }, 'refused sign-in not stored in the audit log'),
      )
  }
}
