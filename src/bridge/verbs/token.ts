import type { TokenRecord } from '../../domain/records.ts'
import { iso } from '../../kernel/clock.ts'
import type { RunningMs } from '../../kernel/running-clock.ts'
import type { BridgeContext } from '../settings.ts'
import type { TokenOwners } from '../sign-in/token-owners.ts'
import type { Tokens } from '../sign-in/tokens.ts'
import type { VerbHandlersOf } from '../verb-context.ts'

interface Parts {
  readonly tokens: Tokens
  readonly owners: TokenOwners
}

/** The verbs about tokens. */
export function tokenHandlers(
  { running }: Pick<BridgeContext, 'running'>,
  { tokens, owners }: Parts,
): VerbHandlersOf<'token'> {
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
      ...(use === undefined ? {} : { lastUsedAt: iso(use.at), lastAddress: use.address }),
    }
  }

  return {
    async 'token/add'(args, caller) {
      const { token, text } = await owners.add(args, caller)
      return { ...show(token), token: text }
    },

    async 'token/list'(args, caller) {
      const page = await owners.page(args, caller)
      return { items: page.items.map(show), ...(page.next === undefined ? {} : { next: page.next }) }
    },

    async 'token/remove'({ tokenId }, caller) {
      await owners.remove(tokenId, caller)
      return { tokenId }
    },
  }
}
