import { messageOf } from '../../kernel/errors.ts'
import { RefusedByBridge } from '../exit.ts'
import type { Bridge } from '../session/session.ts'
import { itemsOf } from '../terminal/presentation.ts'

/** Approvals under way at once: enough for a fleet, and the bridge has others to answer. */
const AT_ONCE = 8

/**
 * Approves the requests of the pretended limbs, each by its id and its code, and nobody else's: an open pairing window
 * would let in every stranger who asks meanwhile. It replaces no key and settles no conflict.
 */
export class FleetApproval {
  readonly #bridge: Pick<Bridge, 'request'>
  readonly #trouble: (message: string) => void
  readonly #waiting = new Map<string, string>()
  #running = 0

  constructor(bridge: Pick<Bridge, 'request'>, trouble: (message: string) => void) {
    this.#bridge = bridge
    this.#trouble = trouble
  }

  /** A pretended limb was told that it waits. */
  asked(requestId: string, code: string): void {
    this.#waiting.set(requestId, code)
    this.#next()
  }

  #next(): void {
    while (this.#running < AT_ONCE) {
      const [first] = this.#waiting
      if (first === undefined) return
      this.#waiting.delete(first[0])
      this.#running++
      void this.#decide(...first).finally(() => {
        this.#running--
        this.#next()
      })
    }
  }

  async #decide(requestId: string, code: string): Promise<void> {
    try {
      // The first request behind the id without its last letter is the one of that id.
      const page = await this.#bridge.request('pairing/list', { after: requestId.slice(0, -1), limit: 1 })
      const row = itemsOf(page).find((each) => each.requestId === requestId)
      if (row?.kind !== 'new' || row.conflict === true) return
      await this.#bridge.request('pairing/approve', { requestId, revision: row.revision, code })
    } catch (error) {
      // It changed, or somebody else has decided it, in the same moment: it is asked about again, or not at all.
      if (error instanceof RefusedByBridge && ['conflict', 'not_found'].includes(error.body.code)) return
      this.#trouble(messageOf(error))
    }
  }
}
