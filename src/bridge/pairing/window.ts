import type { PairingRequestRecord } from '../../domain/records.ts'
import { type PairingWindow, windowAdmits, windowAfterApproval } from '../../domain/window.ts'
import { plusMs } from '../../kernel/clock.ts'
import { messageOf, Refusal } from '../../kernel/errors.ts'
import type { AuditKind } from '../../protocol/audit-kinds.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import type { BridgeContext } from '../settings.ts'

/** A share of something bounded that a work takes; the work may run again, and only its last run counts. */
export interface Reservation {
  /** A run of the work begins: an earlier one took nothing. */
  begin(): void
  /** Its transaction has ended: what was taken is used, or is there for the next when nothing was stored. */
  settle(stored: boolean): void
}

export interface WindowReservation extends Reservation {
  /** Returns who opened the window if it approves this request; else undefined. */
  take(request: PairingRequestRecord, conflict: boolean): string | undefined
}

/** The pairing window, in memory only: a restart closes it. */
export class WindowKeeper {
  readonly #context: BridgeContext
  readonly #announcer: Announcer
  #window: PairingWindow | undefined
  #cancel: (() => void) | undefined
  /** Seats that works have taken whose transaction has not ended, each with the opening that it is of. */
  readonly #taken = new Map<object, unknown>()
  /** Rises whenever somebody opens or closes it. */
  #epoch = 0

  constructor(context: BridgeContext, announcer: Announcer) {
    this.#context = context
    this.#announcer = announcer
  }

  /**
   * Opens the window once that is on record, or closes it at once with `seconds` 0.
   * @throws Refusal `storage_unavailable`, or `conflict` when it was opened or closed anew meanwhile
   */
  async permit(
    seconds: number,
    max: number | undefined,
    nodeId: string | undefined,
    by: string,
  ): Promise<void> {
    const epoch = ++this.#epoch
    if (seconds === 0) {
      await this.#close(by)
      return
    }
    const bounded = Math.min(seconds, LIMITS.permitSecondsMax)
    await this.#record('pairing.window_opened', by, nodeId, 'open', { seconds: bounded, max: max ?? null })
    // Above all it stays closed when it was closed in that moment.
    if (epoch !== this.#epoch) {
      throw new Refusal(
        'conflict',
        'the pairing window was opened or closed anew in the same moment; look at it',
      )
    }
    const { clock, log } = this.#context
    this.#cancel?.()
    this.#cancel = clock.after(bounded * 1000, () => void this.#close('bridge'))
    this.#window = { closesAt: plusMs(clock.monotonicMs(), bounded * 1000), left: max, nodeId, openedBy: by }
    log.warn(
      { seconds: bounded, max, nodeId, by },
      'the pairing window is open: new limbs are approved by themselves',
    )
    this.#announcer.setWindow(this.#window)
    this.#announcer.event('pairing_window_opened', { by })
  }

  /** Closes it at once, whether that can be put on record or not. It resolves when it is, or when that failed. */
  async #close(by: string): Promise<void> {
    const { log } = this.#context
    this.#cancel?.()
    this.#cancel = undefined
    this.#window = undefined
    log.info({ by }, 'the pairing window is closed')
    this.#announcer.setWindow(undefined)
    this.#announcer.event('pairing_window_closed', { by })
    try {
      await this.#record('pairing.window_closed', by, undefined, 'closed', {})
    } catch (error) {
      log.warn({ by, error: messageOf(error) }, 'that the pairing window was closed is not in the audit log')
    }
  }

  #record(
    kind: AuditKind,
    actor: string,
    nodeId: string | undefined,
    outcome: string,
    detail: Record<string, unknown>,
  ): Promise<void> {
    return this.#context.store.transact((tx) =>
      tx.audit(audit(this.#context, kind, { actor, nodeId, outcome, detail })),
    )
  }

  get isOpen(): boolean {
    return this.#window !== undefined
  }

  /** Reserves what one registration may take of the window. */
  reserve(): WindowReservation {
    const seat = {}
    return {
      begin: () => void this.#taken.delete(seat),
      take: (request, conflict) => {
        const window = this.#left()
        if (!windowAdmits(window, request, conflict, this.#context.clock.monotonicMs())) return undefined
        this.#taken.set(seat, this.#cancel)
        return window.openedBy
      },
      settle: (stored) => {
        const opening = this.#taken.get(seat)
        if (!this.#taken.delete(seat) || !stored) return
        if (this.#window && opening === this.#cancel) this.#window = windowAfterApproval(this.#window)
      },
    }
  }

  /** The window without what works have taken that are not stored yet: the next one of a batch sees what is left. */
  #left(): PairingWindow | undefined {
    const window = this.#window
    if (window === undefined || window.left === undefined) return window
    const taken = [...this.#taken.values()].filter((opening) => opening === this.#cancel).length
    return { ...window, left: window.left - taken }
  }

  /** An approval that was taken is on disk: everybody is shown what is left. The last one closes the window. */
  used(): void {
    if (this.#window) this.#announcer.setWindow(this.#window)
    else if (this.#cancel) void this.#close('bridge')
  }

  stop(): void {
    this.#cancel?.()
  }
}
