import type { PrincipalRecord } from '../../domain/records.ts'
import { iso } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { hashPassword, newPassword } from '../../kernel/secrets.ts'
import type { AuditKind } from '../../protocol/audit-kinds.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { audit } from '../audit.ts'
import type { Control } from '../invocation/control.ts'
import type { Announcer } from '../live/announcer.ts'
import type { SessionTable } from '../live/sessions.ts'
import type { Tx } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerifiedPasswords } from '../sign-in/verified-passwords.ts'
import type { Retries } from '../upkeep/retries.ts'
import type { VerbCaller, VerbHandlersOf } from '../verb-context.ts'

/** The verbs about people and programs. */
export function principalHandlers(
  world: BridgeContext,
  table: SessionTable,
  control: Control,
  announcer: Announcer,
  retries: Retries,
  verified: VerifiedPasswords,
): VerbHandlersOf<'principal'> {
  const { clock, store, log } = world

  async function known(tx: Tx, name: string): Promise<PrincipalRecord> {
    const principal = await tx.principal(name)
    if (!principal)
      throw new Refusal('not_found', `there is no principal ${name}; see principal/list`, 'name')
    return principal
  }

  async function record(
    tx: Tx,
    kind: AuditKind,
    caller: VerbCaller,
    name: string,
    detail: Record<string, unknown> = {},
  ) {
    await tx.audit(audit(world, kind, { actor: caller.name, detail: { name, ...detail } }))
  }

  return {
    async 'principal/list'({ limit, after }) {
      const page = await store.read((tx) => tx.principals(after ?? null, limit ?? LIMITS.listDefault))
      return { items: page.items.map(show), ...(page.next === null ? {} : { next: page.next }) }
    },

    async 'principal/add'({ name, role, password }, caller) {
      const made = password === undefined ? newPassword() : undefined
      const passwordHash = await hashPassword(password ?? made ?? '')
      const principal: PrincipalRecord = {
        name,
        role,
        passwordHash,
        createdAt: clock.wallMs(),
        createdBy: caller.name,
      }
      await store.transact(async (tx) => {
        if (await tx.principal(name)) {
          throw new Refusal(
            'conflict',
            `there is a principal ${name} already; use principal/set-password`,
            'name',
          )
        }
        if (await tx.node(name)) {
          throw new Refusal('conflict', `a limb is named ${name}; choose another name`, 'name')
        }
        // Of an earlier one of this name: an invocation that ended after its removal still left its answer.
        await tx.forgetKeys(name)
        await tx.putPrincipal(principal)
        await record(tx, 'principal.added', caller, name, { role })
      })
      // A candidate of this name can never become a limb now.
      table.endAll(name, 'refused')
      log.info({ name, role, by: caller.name }, `principal ${name} is added`)
      announcer.event('principal_added', { name, role, by: caller.name })
      return { ...show(principal), ...(made === undefined ? {} : { password: made }) }
    },

    async 'principal/set-password'({ name, password }, caller) {
      const made = password === undefined ? newPassword() : undefined
      const passwordHash = await hashPassword(password ?? made ?? '')
      await store.transact(async (tx) => {
        await tx.putPrincipal({ ...(await known(tx, name)), passwordHash })
        await record(tx, 'principal.password_set', caller, name)
      })
      verified.forget(name)
      endRemote(table, name)
      log.info({ name, by: caller.name }, `principal ${name} has a new password`)
      return { name, ...(made === undefined ? {} : { password: made }) }
    },

    async 'principal/set-role'({ name, role }, caller) {
      const { before, now } = await store.transact(async (tx) => {
        const before = await known(tx, name)
        if (before.role === 'admin' && role !== 'admin' && (await tx.countAdmins()) === 1) {
          throw new Refusal('conflict', `${name} is the last admin; add another one first`, 'name')
        }
        const now = { ...before, role }
        if (before.role === role) return { before, now }
        await tx.putPrincipal(now)
        await record(tx, 'principal.role_set', caller, name, { role, before: before.role })
        return { before, now }
      })
      if (before.role === role) return show(now)
      control.roleChanged(name, role)
      endRemote(table, name)
      log.info({ name, role, before: before.role, by: caller.name }, `principal ${name} is now ${role}`)
      announcer.event('principal_role_set', { name, role, by: caller.name })
      return show(now)
    },

    async 'principal/remove'({ name }, caller) {
      await store.transact(async (tx) => {
        const principal = await known(tx, name)
        if (principal.role === 'admin' && (await tx.countAdmins()) === 1) {
          throw new Refusal('conflict', `${name} is the last admin; add another one first`, 'name')
        }
        await tx.deletePrincipal(name)
        await record(tx, 'principal.removed', caller, name)
      })
      control.principalGone(name)
      verified.forget(name)
      endRemote(table, name)
      await retries.run(`forget the sessions of ${name}`, () => world.sessions.forget(name))
      log.info({ name, by: caller.name }, `principal ${name} is removed`)
      announcer.event('principal_removed', { name, by: caller.name })
      return { name }
    },
  }
}

/** Ends the sessions that signed in with the password; those of the control socket have none. */
function endRemote(table: SessionTable, name: string): void {
  table.invalidate(name)
  for (const session of table.named(name)) {
    if (session.identity.kind === 'principal' && !session.identity.local) session.end('refused', true)
  }
}

function show(principal: PrincipalRecord) {
  const { name, role, createdBy } = principal
  return { name, role, createdAt: iso(principal.createdAt), createdBy }
}
