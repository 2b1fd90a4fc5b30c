import type { TokenRecord } from '../../domain/records.ts'
import { iso } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import type { RunningMs } from '../../kernel/running-clock.ts'
import { newSortableId } from '../../kernel/secrets.ts'
import { hashToken, newToken } from '../../kernel/token.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { roleReaches } from '../../protocol/names.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import { PacedLog } from '../live/paced-log.ts'
import type { SessionTable } from '../live/sessions.ts'
import type { ReadTx, Tx } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import { lesserRole, type Tokens } from '../sign-in/tokens.ts'
import type { VerbCaller, VerbHandlersOf } from '../verb-context.ts'

/** Everybody may make tokens of their own and remove them, over and over. */
const LINES = { quietMs: 60_000, lines: 10, maxKeys: 200, maxLines: 100 } as const

const DAY_MS = 86_400_000

interface Parts {
  readonly table: SessionTable
  readonly tokens: Tokens
  readonly announcer: Announcer
}

/** The verbs about tokens: everybody's own, and those of all for an admin. */
export function tokenHandlers(
  world: BridgeContext,
  { table, tokens, announcer }: Parts,
): VerbHandlersOf<'token'> {
  const { clock, running, store } = world
  const log = new PacedLog(world, LINES)

  async function record(
    tx: Tx,
    kind: 'token.added' | 'token.removed',
    token: TokenRecord,
    caller: VerbCaller,
  ) {
    const { tokenId, name, principal, role } = token
    const detail = { tokenId, name, principal, role }
    await tx.audit(audit(world, kind, { actor: caller.name, detail }))
  }

  function show(token: TokenRecord) {
    const { tokenId, name, principal, role, expiresAt } = token
    const use = tokens.lastUse(token)
    return {
      tokenId,
      name,
      principal,
      role,
      createdAt: iso(token.createdAt),
      ...(expiresAt === null ? {} : { expiresAt: iso(running.wallMs(expiresAt as RunningMs)) }),
      ...(use === null ? {} : { lastUsedAt: iso(use.at), lastAddress: use.address }),
    }
  }

  return {
    async 'token/add'(args, caller) {
      const text = newToken()
      const at = clock.wallMs()
      const fresh = { tokenId: newSortableId('tk_', at), text, at, running: running.now() }
      const token = await store.transact(async (tx) => {
        const made = await newRecord(tx, args, caller, fresh)
        await tx.putToken(made)
        await record(tx, 'token.added', made, caller)
        return made
      })
      const { tokenId, principal } = token
      const by = caller.name
      log.infoOrCount(by, { tokenId, principal, by }, `${principal} has a new token`)
      announcer.event('token_added', { tokenId, principal, by })
      return { ...show(token), token: text }
    },

    async 'token/list'({ principal, limit, after }, caller) {
      if (principal !== undefined) refuseForeign(caller, principal)
      const whose = principal ?? (roleReaches(caller.role, 'admin') ? null : caller.name)
      const page = await store.read((tx) => tx.tokens(whose, after ?? null, limit ?? LIMITS.listDefault))
      return { items: page.items.map(show), ...(page.next === null ? {} : { next: page.next }) }
    },

    async 'token/remove'({ tokenId }, caller) {
      const token = await store.transact(async (tx) => {
        const known = await tx.token(tokenId)
        // Of another principal: as if there were none, so that nobody learns ids by asking.
        if (known === null || !mayUse(caller, known.principal)) {
          throw new Refusal('not_found', `there is no token ${tokenId}; see token/list`, 'tokenId')
        }
        await tx.deleteToken(tokenId)
        await record(tx, 'token.removed', known, caller)
        return known
      })
      table.endToken(token.principal, tokenId)
      log.infoOrCount(
        caller.name,
        { tokenId, principal: token.principal, by: caller.name },
        `a token of ${token.principal} is removed`,
      )
      announcer.event('token_removed', { tokenId, principal: token.principal, by: caller.name })
      return { tokenId }
    },
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
  if ((await tx.countTokens(owner)) >= LIMITS.tokensPerPrincipal) {
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
