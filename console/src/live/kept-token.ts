import type { VerbResult } from '../../../src/protocol/results.ts'
import type { VerbArgs } from '../../../src/protocol/verbs.ts'

/** What a browser keeps between two visits: a token, never a password. */

export interface KeptToken {
  readonly name: string
  readonly token: string
  /** Absent for a token that somebody typed: signing out leaves it alone. */
  readonly tokenId?: string
}

const KEY = 'limb-bridge-sign-in'
const DAYS_REMEMBERED = 30
const DAYS_OF_TAB = 1
const TOKEN_PREFIX = 'lbt_'

export function keptToken(): KeptToken | undefined {
  for (const storage of storages()) {
    try {
      const kept = JSON.parse(storage.getItem(KEY) ?? 'null') as KeptToken | null
      if (typeof kept?.name === 'string' && typeof kept.token === 'string') return kept
    } catch {}
  }
  return undefined
}

/** `remember`: in every tab, for a month; otherwise in this tab, for a day. */
export async function keepToken(
  name: string,
  secret: string,
  remember: boolean,
  add: (args: VerbArgs<'token/add'>) => Promise<VerbResult<'token/add'>>,
): Promise<KeptToken> {
  const kept = secret.startsWith(TOKEN_PREFIX) ? { name, token: secret } : await made(name, remember, add)
  const [tab, browser] = storages()
  ;(remember ? browser : tab)?.setItem(KEY, JSON.stringify(kept))
  return kept
}

async function made(
  name: string,
  remember: boolean,
  add: (args: VerbArgs<'token/add'>) => Promise<VerbResult<'token/add'>>,
): Promise<KeptToken> {
  const expiresInDays = remember ? DAYS_REMEMBERED : DAYS_OF_TAB
  const { token, tokenId } = await add({ name: `Console, ${browserName()}`, expiresInDays })
  return { name, token, tokenId }
}

export function dropToken(): void {
  for (const storage of storages()) storage.removeItem(KEY)
}

function storages(): Storage[] {
  try {
    return [sessionStorage, localStorage]
  } catch {
    // A browser that keeps nothing.
    return []
  }
}

function browserName(): string {
  const { userAgent } = navigator
  const browser =
    ['Firefox', 'Edg', 'Chrome', 'Safari'].find((name) => userAgent.includes(`${name}/`)) ?? 'browser'
  const system = ['Android', 'iPhone', 'iPad', 'Windows', 'Mac', 'Linux'].find((name) =>
    userAgent.includes(name),
  )
  return system === undefined ? browser : `${browser} on ${system}`
}
