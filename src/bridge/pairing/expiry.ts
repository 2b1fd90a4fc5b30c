import type { PairingRequestRecord } from '../../domain/records.ts'
import { messageOf } from '../../kernel/errors.ts'
import type { RunningMs } from '../../kernel/running-clock.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import { PacedLog } from '../live/paced-log.ts'
import type { PendingPairingRequests } from '../live/pending.ts'
import type { SessionTable } from '../live/sessions.ts'
import type { Tx } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'

/** Pending requests are looked at this often: an expiry need not be sharper. */
const LOOK_MS = 1000

/** The requests that end in one transaction, and are told of in its turn of the event loop. */
const AT_ONCE = 32

/** Lines about requests that are over: after a flood many are, at once. */
const EXPIRED = { quietMs: 60_000, lines: 50, maxKeys: 1, maxLines: 50 } as const

/** Ends the requests whose candidates gave no sign for too long; those of live candidates go on. */
export class PairingRequestExpiry {
  readonly #context: BridgeContext
  readonly #pending: PendingPairingRequests
  readonly #table: SessionTable
  readonly #announcer: Announcer
  readonly #expired: PacedLog
  readonly #forget: (request: PairingRequestRecord) => void
  #cancel: (() => void) | undefined
  #looking = false
  #stopped = false

  constructor(
    context: BridgeContext,
    parts: { pending: PendingPairingRequests; table: SessionTable; announcer: Announcer },
    forget: (request: PairingRequestRecord) => void,
  ) {
    this.#context = context
    this.#pending = parts.pending
    this.#table = parts.table
    this.#announcer = parts.announcer
    this.#expired = new PacedLog(context, EXPIRED)
    this.#forget = forget
  }

  start(): void {
    if (this.#stopped) return
    this.#cancel = this.#context.clock.after(LOOK_MS, () => {
      this.start()
      void this.#look()
    })
  }

  stop(): void {
    this.#stopped = true
    this.#cancel?.()
    this.#expired.stop()
  }

  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const now = this.#context.running.now()
      const due = [...this.#pending.values()].filter(({ expiresAt }) => expiresAt <= now)
      for (let from = 0; from < due.length && !this.#stopped; from += AT_ONCE)
        await this.#end(due.slice(from, from + AT_ONCE), now)
    } catch (error) {
      this.#context.log.error({ error: messageOf(error) }, 'expiry of requests failed')
    } finally {
      this.#looking = false
    }
  }

  async #end(due: readonly PairingRequestRecord[], now: RunningMs): Promise<void> {
    const { store, log, counters } = this.#context
    const ended = await store
      .transact((tx) => this.#endIn(tx, due, now))
      .catch((error: unknown) => {
        log.debug({ error: messageOf(error) }, 'expired requests not removed, trying again later')
      })
    if (!ended) return
    for (const request of ended.alive) this.#pending.put(request)
    for (const request of ended.over) {
      const { nodeId, requestId } = request
      counters.count('pairing_decisions', 'expired')
      this.#expired.info('', { nodeId, requestId }, `request ${requestId} has expired`)
      this.#forget(request)
      this.#announcer.event('pairing_expired', { nodeId, requestId })
    }
  }

  /** Ends those that are due on record, or renews them; returns which are alive and which are over. */
  async #endIn(tx: Tx, due: readonly PairingRequestRecord[], now: RunningMs) {
    const expiresAt = now + this.#context.settings.pairing.pendingSeconds * 1000
    const alive: PairingRequestRecord[] = []
    const over: PairingRequestRecord[] = []
    for (const { requestId } of due) {
      // As it is now: an operator or its candidate may have been faster, and not be seen in memory yet.
      const request = await tx.request(requestId)
      if (!request || request.expiresAt > now) continue
      if (this.#showsSign(request)) {
        const renewed = { ...request, expiresAt }
        alive.push(renewed)
        await tx.putRequest(renewed)
        continue
      }
      over.push(request)
      await tx.deleteRequest(requestId)
      await tx.audit(
        audit(this.#context, 'pairing.expired', {
          actor: 'bridge',
          nodeId: request.nodeId,
          outcome: 'expired',
          detail: { requestId },
        }),
      )
    }
    return { alive, over }
  }

  #showsSign(request: PairingRequestRecord): boolean {
    return request.key
      ? this.#table.candidatesWith(request.nodeId, request.key).length > 0
      : this.#table.limb(request.nodeId) !== undefined
  }
}
