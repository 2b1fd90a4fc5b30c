import type { MqttClient } from 'mqtt'
import type { Clock } from '../../kernel/clock.ts'
import type { SignInRefused } from '../exit.ts'
import { isSignInRefusal, notThatPrincipal, signInRefused } from './mqtt-errors.ts'
import type { ConnectionTarget } from './target.ts'

/**
 * A session that stays comes back by itself: soon after a loss, and once a minute while it is not let in, so that the
 * bridge does not take it for somebody who guesses at passwords.
 */

const SOON_MS = 2000
const REFUSED_MS = 60_000
/** Keeps the process alive between two connections, which timers of the clock do not. */
const HOLD_MS = 60_000

export class Reconnect {
  readonly #client: MqttClient
  readonly #target: ConnectionTarget
  readonly #clock: Clock
  #refusal: SignInRefused | undefined
  #stopped = false
  #cancel = () => {}

  /** Takes a client that is connected, and does not reconnect by itself. */
  constructor(client: MqttClient, target: ConnectionTarget, clock: Clock) {
    this.#client = client
    this.#target = target
    this.#clock = clock
    client.on('error', (error) => {
      if (isSignInRefusal(error)) this.#refusal = signInRefused(target)
    })
    client.on('close', () => this.#later())
  }

  /** The last word of the bridge while it is not let in. */
  get refusal(): SignInRefused | undefined {
    return this.#refusal
  }

  /** The bridge takes it for the principal that it says it is. */
  letIn(): void {
    this.#refusal = undefined
  }

  /** The bridge takes it for somebody else: that no principal has this name, it does not say at the sign-in. */
  notLetIn(): void {
    this.#refusal = notThatPrincipal(this.#target)
    this.#client.end(true)
  }

  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  #later(): void {
    this.#cancel()
    if (this.#stopped) return
    const hold = setInterval(() => {}, HOLD_MS)
    const cancelTimer = this.#clock.after(this.#refusal ? REFUSED_MS : SOON_MS, () => {
      this.#cancel()
      this.#again()
    })
    this.#cancel = () => {
      clearInterval(hold)
      cancelTimer()
    }
  }

  #again(): void {
    const password = this.#target.passwordNow?.()
    if (password !== undefined) this.#client.options.password = password
    // With empty stores: what the caller was told is lost is not to be done later.
    this.#client.reconnect()
  }
}
