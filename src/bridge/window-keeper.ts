import type { RequestRecord } from '../domain/records.ts'
import { type PairingWindow, windowAdmits, windowAfterApproval } from '../domain/window.ts'
import { plusMs } from '../kernel/clock.ts'
import { LIMITS } from '../protocol/limits.ts'
import type { Announcer } from './announcer.ts'
import type { World } from './settings.ts'

/** The pairing window, in memory only: a restart closes it. */
export class WindowKeeper {
  readonly #world: World
  readonly #announcer: Announcer
  #window: PairingWindow | null = null
  #cancel: (() => void) | null = null

  constructor(world: World, announcer: Announcer) {
    this.#world = world
    this.#announcer = announcer
  }

  /** Opens the window, or closes it with `seconds` 0. */
  permit(seconds: number, max: number | null, nodeId: string | null, by: string): void {
    if (seconds === 0) {
      this.#close(by)
      return
    }
    const { clock, log } = this.#world
    const bounded = Math.min(seconds, LIMITS.permitSecondsMax)
    this.#cancel?.()
    this.#cancel = clock.after(bounded * 1000, () => this.#close('bridge'))
    this.#window = { closesAt: plusMs(clock.monotonicMs(), bounded * 1000), left: max, nodeId, openedBy: by }
    log.warn(
      { seconds: bounded, max, nodeId, by },
      'the pairing window is open: new limbs are approved by themselves',
    )
    this.#announcer.setWindow(this.#window)
    this.#announcer.event('pairing_window_opened', { by })
  }

  #close(by: string): void {
    this.#cancel?.()
    this.#cancel = null
    this.#window = null
    this.#world.log.info({ by }, 'the pairing window is closed')
    this.#announcer.setWindow(null)
    this.#announcer.event('pairing_window_closed', { by })
  }

  /** Who opened the window, when it approves this request; else null. */
  take(request: RequestRecord, conflict: boolean): string | null {
    if (!windowAdmits(this.#window, request, conflict, this.#world.clock.monotonicMs())) return null
    const { openedBy } = this.#window
    // Taken at once: the next registration of this batch must see what is left.
    this.#window = windowAfterApproval(this.#window)
    return openedBy
  }

  /** An approval that was taken is on disk: everybody is shown what is left. The last one closes the window. */
  used(): void {
    if (this.#window) this.#announcer.setWindow(this.#window)
    else if (this.#cancel) this.#close('bridge')
  }

  stop(): void {
    this.#cancel?.()
  }
}
