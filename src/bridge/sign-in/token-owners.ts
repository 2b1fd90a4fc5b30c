import type { TokenRecord } from '../../domain/records.ts'
import { Refusal } from '../../kernel/errors.ts'
import { newSortableId } from '../../kernel/secrets.ts'
import { hashToken, newToken } from '../../kernel/token.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { roleReaches } from '../../protocol/names.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import { PacedLog } from '../live/paced-log.ts'
import type { SessionTable } from '../live/sessions.ts'
import type { Page, ReadTx, Tx } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbCaller } from '../verb-context.ts'
import { lesserRole } from './tokens.ts'

/** Lines about tokens, of each principal: it may make its own and remove them, over and over. */
const LINES = { quietMs: 60_000, lines: 10, maxKeys: 200, maxLines: 100 } as const

const DAY_MS = 86_400_000

interface Parts {
  readonly table: SessionTable
  readonly announcer: Announcer
}

export interface AddedToken {
  readonly token: TokenRecord
  /** Shown once. */
  readonly text: string
}

/** Principals add, list and remove tokens: everybody their own, and admins those of all. */
export class TokenOwners {
  readonly #context: BridgeContext
  readonly #parts: Parts
  readonly #lines: PacedLog

  constructor(context: BridgeContext, parts: Parts) {
    this.#context = context
    this.#parts = parts
    this.#lines = new PacedLog(context, LINES)
  }

  /** @throws Refusal `forbidden`, `not_found`, `too_many_requests` */
  async add(args: VerbArgs<'token/add'>, caller: VerbCaller): Promise<AddedToken> {
    const { clock, running, store } = this.#context
    const text = newToken()
    const at = clock.wallMs()
    const fresh = { tokenId: newSortableId('tk_', at), text, at, running: running.now() }
    const token = await store.transact(async (tx) => {
      const made = await newRecord(tx, args, caller, fresh)
      await tx.putToken(made)
      await this.#record(tx, 'token.added', made, caller)
      return made
    })
    const { tokenId, principal } = token
    const by = caller.name
    this.#lines.infoOrCount(by, { tokenId, principal, by }, `${principal} has a new token`)
    this.#parts.announcer.event('token_added', { tokenId, principal, by })
    return { token, text }
  }

  /** @throws Refusal `forbidden` when the tokens of another principal are asked for */
  page({ principal, limit, after }: VerbArgs<'token/list'>, caller: VerbCaller): Promise<Page<TokenRecord>> {
    if (principal !== undefined) refuseForeign(caller, principal)
    const whose = principal ?? (roleReaches(caller.role, 'admin') ? undefined : caller.name)
    return this.#context.store.read((tx) => tx.tokens(whose, after, limit ?? LIMITS.listDefault))
  }

  /** Removes a token and ends its sessions. @throws Refusal `not_found` */
  async remove(tokenId: string, caller: VerbCaller): Promise<void> {
    const { store } = this.#context
    const { principal } = await store.transact(async (tx) => {
      const known = await tx.token(tokenId)
      // Of another principal: as if there were none, so that nobody learns ids by asking.
      if (known === null || !mayUse(caller, known.principal)) {
        throw new Refusal('not_found', `there is no token ${tokenId}; see token/list`, 'tokenId')
      }
      await tx.deleteToken(tokenId)
      await this.#record(tx, 'token.removed', known, caller)
      return known
    })
    this.#parts.table.endToken(principal, tokenId)
    const by = caller.name
    this.#lines.infoOrCount(by, { tokenId, principal, by }, `a token of ${principal} is removed`)
    this.#parts.announcer.event('token_removed', { tokenId, principal, by })
  }

  async #record(
    tx: Tx,
    kind: 'token.added' | 'token.removed',
    { tokenId, name, principal, role }: TokenRecord,
    caller: VerbCaller,
  ): Promise<void> {
    const detail = { tokenId, name, principal, role }
    await tx.audit(audit(this.#context, kind, { actor: caller.name, detail }))
  }
}

async function newRecord(
  tx: ReadTx,
  { name, principal: whose, role, expiresInDays }: VerbArgs<'token/add'>,
  caller: VerbCaller,
  { tokenId, text, at, running }: { tokenId: string; text: string; at: number; running: number },
): Promise<TokenRecord> {
  const owner = whose ?? caller.name
  refuseForeign(caller, owner)
  const principal = await tx.principal(owner)
  if (principal === null) {
    throw new Refusal('not_found', `there is no principal ${owner}; see principal/list`, 'principal')
  }
  // Whoever signed in with a lesser token makes no greater one.
  const most = owner === caller.name ? lesserRole(principal.role, caller.role) : principal.role
  if (role !== undefined && !roleReaches(most, role)) {
    throw new Refusal('forbidden', `a token of ${owner} can be ${most} at most`, 'role')
  }
  if ((await tx.countTokens(owner, LIMITS.tokensPerPrincipal)) >= LIMITS.tokensPerPrincipal) {
    const text = `${owner} has ${LIMITS.tokensPerPrincipal} tokens; remove one first (token/list, token/remove)`
    throw new Refusal('too_many_requests', text)
  }
  return {
    tokenId,
    hash: hashToken(text),
    name,
    principal: owner,
    role: role ?? most,
    createdAt: at,
    createdBy: caller.name,
    expiresAt: expiresInDays === undefined ? null : running + expiresInDays * DAY_MS,
    lastUsedAt: null,
    lastAddress: null,
  }
}

function mayUse(caller: VerbCaller, principal: string): boolean {
  return caller.name === principal || roleReaches(caller.role, 'admin')
}

function refuseForeign(caller: VerbCaller, principal: string): void {
  if (mayUse(caller, principal)) return
  throw new Refusal('forbidden', `tokens of ${principal} are for ${principal} and for admins`, 'principal')
}
