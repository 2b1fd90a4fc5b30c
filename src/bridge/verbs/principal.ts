import type { PrincipalRecord } from '../../domain/records.ts'
import { iso } from '../../kernel/clock.ts'
import type { Principals } from '../sign-in/principals.ts'
import type { VerbHandlersOf } from '../verb-context.ts'

/** The verbs about people and programs. */
export function principalHandlers(principals: Principals): VerbHandlersOf<'principal'> {
  return {
    async 'principal/list'(args) {
      const page = await principals.page(args)
      return { items: page.items.map(show), ...(page.next === undefined ? {} : { next: page.next }) }
    },

    async 'principal/add'(args, caller) {
      const { principal, password } = await principals.add(args, caller.name)
      return { ...show(principal), ...(password === undefined ? {} : { password }) }
    },

    async 'principal/set-password'(args, caller) {
      const password = await principals.setPassword(args, caller.name)
      return { name: args.name, ...(password === undefined ? {} : { password }) }
    },

    async 'principal/set-role'(args, caller) {
      return show(await principals.setRole(args, caller.name))
    },

    async 'principal/remove'({ name }, caller) {
      await principals.remove(name, caller.name)
      return { name }
    },
  }
}

function show(principal: PrincipalRecord) {
  const { name, role, createdBy } = principal
  return { name, role, createdAt: iso(principal.createdAt), createdBy }
}
