import type { TokenRecord, TokenUse } from '../../domain/records.ts'
import { messageOf } from '../../kernel/errors.ts'
import { hashToken } from '../../kernel/token.ts'
import { ROLES, type Role } from '../../protocol/names.ts'
import type { Identity, ReadTx } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'

/** Uses that wait for the next write; the newest of each token counts. */
const MAX_UNSAVED = 10_000

/** Returns the lesser of two roles: what a token may do when its principal may do less by now. */
export function lesserRole(one: Role, other: Role): Role {
  return ROLES.indexOf(one) < ROLES.indexOf(other) ? one : other
}

/** Returns whether the token's time is up. */
export function tokenExpired({ expiresAt }: TokenRecord, runningMs: number): boolean {
  return expiresAt !== null && runningMs >= expiresAt
}

/** Signs principals in by their tokens, and keeps when each was last used. */
export class Tokens {
  readonly #context: BridgeContext
  readonly #unsaved = new Map<string, TokenUse>()

  constructor(context: BridgeContext) {
    this.#context = context
  }

  /** Resolves to who signs in with this token under this name (undefined: whoever it belongs to); undefined: nobody. */
  async identify(tx: ReadTx, text: string, name: string | undefined): Promise<TokenIdentity | undefined> {
    const token = await tx.tokenByHash(hashToken(text))
    if (token === null || tokenExpired(token, this.#context.running.now())) return undefined
    if (name !== undefined && name !== token.principal) return undefined
    const principal = await tx.principal(token.principal)
    if (principal === null) return undefined
    const role = lesserRole(token.role, principal.role)
    const { tokenId, expiresAt } = token
    const ends = expiresAt === null ? {} : { endsAt: expiresAt }
    return { kind: 'principal', name: principal.name, role, local: false, tokenId, ...ends }
  }

  used(tokenId: string, address: string): void {
    if (this.#unsaved.size >= MAX_UNSAVED && !this.#unsaved.has(tokenId)) return
    this.#unsaved.set(tokenId, { tokenId, at: this.#context.clock.wallMs(), address })
  }

  /** The newest use that is known, stored or not. */
  lastUse(token: TokenRecord): TokenUse | undefined {
    const { tokenId, lastUsedAt, lastAddress } = token
    const unsaved = this.#unsaved.get(tokenId)
    if (unsaved) return unsaved
    return lastUsedAt === null ? undefined : { tokenId, at: lastUsedAt, address: lastAddress ?? '' }
  }

  /** Stores what was used since the last time; a failure keeps it for the next. */
  async save(): Promise<void> {
    const batch = [...this.#unsaved.values()]
    if (batch.length === 0) return
    try {
      await this.#context.store.saveTokenUses(batch)
    } catch (error) {
      this.#context.log.debug({ error: messageOf(error) }, 'uses of tokens not stored, trying again later')
      return
    }
    for (const use of batch) if (this.#unsaved.get(use.tokenId) === use) this.#unsaved.delete(use.tokenId)
  }
}

export type TokenIdentity = Extract<Identity, { kind: 'principal' }> & { readonly tokenId: string }
