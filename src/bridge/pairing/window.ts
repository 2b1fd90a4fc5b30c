import type { PairingRequestRecord } from '../../domain/records.ts'
import { type PairingWindow, windowAdmits, windowAfterApproval } from '../../domain/window.ts'
import { plusMs } from '../../kernel/clock.ts'
import { messageOf, Refusal } from '../../kernel/errors.ts'
import type { AuditKind } from '../../protocol/audit-kinds.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import type { BridgeContext } from '../settings.ts'

export interface WindowReservation {
  /** Returns who opened the window if it approves this request; else null. */
  take(request: PairingRequestRecord, conflict: boolean): string | null
  /** Nothing was stored: what was taken is there for the next registration. */
  giveBack(): void
}

/** The pairing window, in memory only: a restart closes it. */
export class WindowKeeper {
  readonly #world: BridgeContext
  readonly #announcer: Announcer
  #window: PairingWindow | null = null
  #cancel: (() => void) | null = null
  /** Rises whenever somebody opens or closes it. */
  #turn = 0

  constructor(world: BridgeContext, announcer: Announcer) {
    this.#world = world
    this.#announcer = announcer
  }

  /**
   * Opens the window once that is on record, or closes it at once with `seconds` 0.
   * @throws Refusal `storage_unavailable`, or `conflict` when it was opened or closed anew meanwhile
   */
  async permit(seconds: number, max: number | null, nodeId: string | null, by: string): Promise<void> {
    const turn = ++this.#turn
    if (seconds === 0) {
      await this.#close(by)
      return
    }
    const bounded = Math.min(seconds, LIMITS.permitSecondsMax)
    await this.#record('pairing.window_opened', by, nodeId, 'open', { seconds: bounded, max })
    // Above all it stays closed when it was closed in that moment.
    if (turn !== this.#turn) {
      throw new Refusal(
        'conflict',
        'the pairing window was opened or closed anew in the same moment; look at it',
      )
    }
    const { clock, log } = this.#world
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
    const { log } = this.#world
    this.#cancel?.()
    this.#cancel = null
    this.#window = null
    log.info({ by }, 'the pairing window is closed')
    this.#announcer.setWindow(null)
    this.#announcer.event('pairing_window_closed', { by })
    try {
      await this.#record('pairing.window_closed', by, null, 'closed', {})
    } catch (error) {
      log.warn({ by, error: messageOf(error) }, 'that the pairing window was closed is not in the audit log')
    }
  }

  #record(
    kind: AuditKind,
    actor: string,
    nodeId: string | null,
    outcome: string,
    detail: Record<string, unknown>,
  ): Promise<void> {
    return this.#world.store.transact((tx) =>
      tx.audit(audit(this.#world, kind, { actor, nodeId, outcome, detail })),
    )
  }

  /** Reserves what one registration may take of the window. */
  reserve(): WindowReservation {
    let taken: { readonly window: PairingWindow; readonly opening: unknown } | null = null
    return {
      take: (request, conflict) => {
        const window = this.#window
        if (!windowAdmits(window, request, conflict, this.#world.clock.monotonicMs())) return null
        taken = { window, opening: this.#cancel }
        // Taken at once: the next registration of this batch must see what is left.
        this.#window = windowAfterApproval(window)
        return window.openedBy
      },
      giveBack: () => {
        if (taken === null || taken.opening !== this.#cancel || taken.window.left === null) return
        this.#window = { ...taken.window, left: (this.#window?.left ?? 0) + 1 }
        taken = null
      },
    }
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
