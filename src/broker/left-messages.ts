import type { LeftBehind } from './outbox.ts'

/**
 * Sends what an earlier connection left behind, each in its place among what the store keeps of the session: who
 * resumes gets everything in the order in which it was sent [MQTT-4.6.0-1], and never an old status after a newer one.
 */
export class LeftMessages {
  readonly #all: readonly LeftBehind[]
  readonly #send: (left: LeftBehind) => Promise<void>
  #at = 0

  /** `all`: those that were sent before those that were not, the oldest first. */
  constructor(all: readonly LeftBehind[], send: (left: LeftBehind) => Promise<void>) {
    this.#all = all
    this.#send = send
  }

  /** Returns what was not sent again yet. */
  get toSend(): readonly LeftBehind[] {
    return this.#all.slice(this.#at)
  }

  /** Sends those that were sent right after the message of the store with this identifier; undefined: before all. */
  async after(messageId: number | undefined): Promise<void> {
    await this.#sendWhile((left) => left.messageId !== undefined && left.after === messageId)
  }

  /** Sends those that come before a message of the store that was never sent. */
  async beforeUnsent(brokerCounter: number): Promise<void> {
    await this.#sendWhile(
      ({ messageId, after }) => messageId !== undefined || after === undefined || after < brokerCounter,
    )
  }

  async rest(): Promise<void> {
    await this.#sendWhile(() => true)
  }

  async #sendWhile(goes: (left: LeftBehind) => boolean): Promise<void> {
    for (let left = this.#all[this.#at]; left !== undefined && goes(left); left = this.#all[this.#at]) {
      await this.#send(left)
      this.#at++
    }
  }
}
