import type { Clock } from '../../kernel/clock.ts'
import { RefusedByBridge } from '../exit.ts'
import { itemsOf } from '../terminal/presentation.ts'
import type { Bridge } from './session.ts'

/** An invocation that nobody waits for any more is taken back, so that no later approval runs it. */

/** `sent`: the limb has it already. `unknown`: the bridge has none that waits; it may have ended. */
export type TakenBack = 'cancelled' | 'sent' | 'unknown'

const STATES = ['waiting', 'queued'] as const
/** It may be on its way to the bridge, or to its row. */
const TRIES = 4
const PAUSE_MS = 150
/** A number that is more than a principal may have under way at once. */
const MAX_LISTED = 1000

/** Cancels the invocation that `principal` asked for with `transaction`. Rejects when the bridge cannot be asked. */
export async function takeBack(
  bridge: Bridge,
  clock: Clock,
  principal: string,
  transaction: string,
): Promise<TakenBack> {
  for (let tries = 1; ; tries++) {
    const invocationId = await waitingOne(bridge, principal, transaction)
    if (invocationId !== undefined) return cancel(bridge, invocationId)
    if (tries === TRIES) return 'unknown'
    await new Promise<void>((resolve) => clock.after(PAUSE_MS, resolve))
  }
}

async function waitingOne(bridge: Bridge, principal: string, transaction: string): Promise<unknown> {
  for (const state of STATES) {
    const list = await bridge.request('invocation/list', { principal, state, limit: MAX_LISTED })
    const found = itemsOf(list).find((item) => item.transaction === transaction)
    if (found) return found.invocationId
  }
  return undefined
}

async function cancel(bridge: Bridge, invocationId: unknown): Promise<TakenBack> {
  try {
    await bridge.request('invocation/cancel', { invocationId, reason: 'its caller gave it up' })
    return 'cancelled'
  } catch (error) {
    if (error instanceof RefusedByBridge && error.body.code === 'conflict') return 'sent'
    throw error
  }
}
