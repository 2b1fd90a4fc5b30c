import { type LeftBehind, sizeOfLeft } from './outbox.ts'
import type { MqttSession } from './session.ts'

/** The bytes over all sessions: what they have not acknowledged is small, unless somebody means it. */
const MAX_BYTES = 32 * 1024 * 1024

interface Left {
  readonly owner: string
  readonly messages: readonly LeftBehind[]
  readonly bytes: number
}

/**
 * Messages of stored sessions that no store keeps (what the bridge sends to one session alone, and retained messages)
 * and that were not acknowledged when the connection ended. They are sent again when the session is resumed, on this
 * run of the bridge: in memory only, because a key may be among them.
 */
export class Unacknowledged {
  readonly #dropped: (clientId: string) => void
  /** Messages by Aedes' id of the client, the oldest first. */
  readonly #left = new Map<string, Left>()
  /** The sessions of each owner, the oldest first, and their bytes. */
  readonly #owners = new Map<string, { readonly clientIds: Set<string>; bytes: number }>()
  #bytes = 0

  /** `dropped`: what a session was owed is given up, and it may have missed something. */
  constructor(dropped: (clientId: string) => void) {
    this.#dropped = dropped
  }

  /** The connection of a session has ended. `owner`: of the session that is stored, if one is. */
  keep({ client, delivery }: MqttSession, owner: string | undefined): void {
    // Aedes may have let go of the client before its socket has closed.
    delivery.close()
    const messages = delivery.outbox.leftBehind
    if (client.id === null) return
    this.forget(client.id)
    if (messages.length === 0 || owner === undefined) return
    const bytes = sizeOfLeft(messages)
    this.#left.set(client.id, { owner, messages, bytes })
    const share = this.#owners.get(owner) ?? { clientIds: new Set(), bytes: 0 }
    share.clientIds.add(client.id)
    share.bytes += bytes
    this.#owners.set(owner, share)
    this.#bytes += bytes
    while (this.#bytes > MAX_BYTES) this.#dropOldestOfLargest()
  }

  /** Lets the identity that holds most give up: none costs another one what that is owed. */
  #dropOldestOfLargest(): void {
    const [largest] = [...this.#owners.values()].toSorted((a, b) => b.bytes - a.bytes)
    const [oldest] = largest?.clientIds ?? []
    if (oldest === undefined) return
    this.forget(oldest)
    this.#dropped(oldest)
  }

  /** Takes what is owed to a session that is resumed: the stored one of the same identity, and no other. */
  take({ client, identity, storedBefore }: MqttSession): readonly LeftBehind[] {
    const left = client.id === null ? undefined : this.#left.get(client.id)
    if (client.id === null || left === undefined) return []
    this.forget(client.id)
    const name = identity.kind === 'principal' ? identity.name : identity.nodeId
    return storedBefore && left.owner === name ? left.messages : []
  }

  /** The session is stored no more. */
  forget(clientId: string): void {
    const left = this.#left.get(clientId)
    if (left === undefined) return
    this.#bytes -= left.bytes
    this.#left.delete(clientId)
    const share = this.#owners.get(left.owner)
    if (share === undefined) return
    share.bytes -= left.bytes
    share.clientIds.delete(clientId)
    if (share.clientIds.size === 0) this.#owners.delete(left.owner)
  }
}
