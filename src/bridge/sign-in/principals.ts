import type { PrincipalRecord } from '../../domain/records.ts'
import { Refusal } from '../../kernel/errors.ts'
import { hashPassword, newPassword } from '../../kernel/secrets.ts'
import type { AuditKind } from '../../protocol/audit-kinds.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Role } from '../../protocol/names.ts'
import type { VerbArgs } from '../../protocol/verbs.ts'
import { audit } from '../audit.ts'
import type { Announcer } from '../live/announcer.ts'
import type { SessionTable } from '../live/sessions.ts'
import type { Page, ReadTx, Tx } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerifiedPasswords } from './verified-passwords.ts'

interface Parts {
  readonly table: SessionTable
  readonly announcer: Announcer
  readonly verified: VerifiedPasswords
  /** Ends what a principal holds and may hold no more. */
  readonly roleChanged: (name: string, role: Role) => void
  /** Ends what still runs or waits for a principal that is no more. */
  readonly gone: (name: string) => void
  /** Removes the stored sessions of a principal that is no more; tries again while the store is full. */
  readonly forgetSessions: (name: string) => Promise<void>
}

export interface AddedPrincipal {
  readonly principal: PrincipalRecord
  /** Shown once, when the bridge made it. */
  readonly password: string | undefined
}

/** Principals are added, get another password or role, and are removed. */
export class Principals {
  readonly #context: BridgeContext
  readonly #parts: Parts

  constructor(context: BridgeContext, parts: Parts) {
    this.#context = context
    this.#parts = parts
  }

  page({ limit, after }: VerbArgs<'principal/list'>): Promise<Page<PrincipalRecord>> {
    return this.#context.store.read((tx) => tx.principals(after, limit ?? LIMITS.listDefault))
  }

  /** @throws Refusal `conflict` when a principal or a limb has the name. */
  async add({ name, role, password }: VerbArgs<'principal/add'>, by: string): Promise<AddedPrincipal> {
    const { clock, store, log } = this.#context
    const { table, announcer } = this.#parts
    const { made, passwordHash } = await passwordFor(password, this.#context.passwordCost)
    const principal: PrincipalRecord = {
      name,
      role,
      passwordHash,
      createdAt: clock.wallMs(),
      createdBy: by,
    }
    await store.transact(async (tx) => {
      await refuseTaken(tx, name)
      // Of an earlier one of this name: an invocation that ended after its removal still left its answer.
      await tx.forgetKeys(name)
      await tx.putPrincipal(principal)
      await this.#record(tx, 'principal.added', by, name, { role })
    })
    // A candidate of this name can never become a limb now.
    table.endAll(name, 'refused')
    log.info({ name, role, by }, `principal ${name} is added`)
    announcer.event('principal_added', { name, role, by })
    return { principal, password: made }
  }

  /** Resolves with the password that the bridge made, if none was given. */
  async setPassword(
    { name, password }: VerbArgs<'principal/set-password'>,
    by: string,
  ): Promise<string | undefined> {
    const { store, log } = this.#context
    const { made, passwordHash } = await passwordFor(password, this.#context.passwordCost)
    await store.transact(async (tx) => {
      await tx.putPrincipal({ ...(await stored(tx, name)), passwordHash })
      await this.#record(tx, 'principal.password_set', by, name)
    })
    this.#parts.verified.forget(name)
    this.#endRemote(name)
    log.info({ name, by }, `principal ${name} has a new password`)
    return made
  }

  /** @throws Refusal `conflict` when nobody would be admin any more. */
  async setRole({ name, role }: VerbArgs<'principal/set-role'>, by: string): Promise<PrincipalRecord> {
    const { store, log } = this.#context
    const { announcer, roleChanged } = this.#parts
    const { before, now } = await store.transact(async (tx) => {
      const before = await stored(tx, name)
      if (role !== 'admin') await refuseLastAdmin(tx, before)
      const now = { ...before, role }
      if (before.role === role) return { before, now }
      await tx.putPrincipal(now)
      await this.#record(tx, 'principal.role_set', by, name, { role, before: before.role })
      return { before, now }
    })
    if (before.role === role) return now
    roleChanged(name, role)
    this.#endRemote(name)
    log.info({ name, role, before: before.role, by }, `principal ${name} is now ${role}`)
    announcer.event('principal_role_set', { name, role, by })
    return now
  }

  /** @throws Refusal `conflict` when nobody would be admin any more. */
  async remove(name: string, by: string): Promise<void> {
    const { store, log } = this.#context
    const { verified, announcer, gone, forgetSessions } = this.#parts
    await store.read(async (tx) => refuseLastAdmin(tx, await stored(tx, name)))
    // A little in each transaction: there may be many megabytes, and one transaction is one turn of the event loop.
    while (await store.transact((tx) => tx.dropAnswersOf(name)));
    await store.transact(async (tx) => {
      await refuseLastAdmin(tx, await stored(tx, name))
      await tx.deletePrincipal(name)
      await tx.forgetSessions(name)
      await this.#record(tx, 'principal.removed', by, name)
    })
    gone(name)
    verified.forget(name)
    this.#endRemote(name)
    await forgetSessions(name)
    log.info({ name, by }, `principal ${name} is removed`)
    announcer.event('principal_removed', { name, by })
  }

  async #record(tx: Tx, kind: AuditKind, by: string, name: string, detail: Record<string, unknown> = {}) {
    await tx.audit(audit(this.#context, kind, { actor: by, detail: { name, ...detail } }))
  }

  /** Ends the sessions that signed in with the password; those of the control socket have none. */
  #endRemote(name: string): void {
    const { table } = this.#parts
    table.invalidate(name)
    for (const session of table.named(name)) {
      if (session.identity.kind === 'principal' && !session.identity.local) session.end('refused', true)
    }
  }
}

/** The given password, or a new one. */
async function passwordFor(given: string | undefined, cost: number) {
  const made = given === undefined ? newPassword() : undefined
  return { made, passwordHash: await hashPassword(given ?? made ?? '', cost) }
}

async function stored(tx: ReadTx, name: string): Promise<PrincipalRecord> {
  const principal = await tx.principal(name)
  if (!principal) throw new Refusal('not_found', `there is no principal ${name}; see principal/list`, 'name')
  return principal
}

async function refuseTaken(tx: Tx, name: string): Promise<void> {
  if (await tx.principal(name)) {
    const text = `there is a principal ${name} already; use principal/set-password`
    throw new Refusal('conflict', text, 'name')
  }
  if (await tx.node(name)) {
    throw new Refusal('conflict', `a limb is named ${name}; choose another name`, 'name')
  }
}

async function refuseLastAdmin(tx: ReadTx, { name, role }: PrincipalRecord): Promise<void> {
  if (role !== 'admin' || (await tx.countAdmins(1)) !== 1) return
  throw new Refusal('conflict', `${name} is the last admin; add another one first`, 'name')
}
