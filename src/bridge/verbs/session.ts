import { iso } from '../../kernel/clock.ts'
import { Refusal } from '../../kernel/errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { audit } from '../audit.ts'
import type { KnownSession } from '../ports.ts'
import type { BridgeContext } from '../settings.ts'
import type { VerbHandlersOf } from '../verb-context.ts'

/** Makes the verbs about MQTT sessions, live and stored. */
export function sessionHandlers(context: BridgeContext): VerbHandlersOf<'session'> {
  const { store, sessions, log } = context

  return {
    async 'session/list'({ name, limit = LIMITS.listDefault, after }) {
      const found = sessions.list({ name, after, limit: limit + 1 })
      const items = found.slice(0, limit)
      const last = found.length > limit ? items.at(-1) : undefined
      return { items: items.map(show), ...(last === undefined ? {} : { next: placeOf(last) }) }
    },

    async 'session/forget'({ name, clientId }, caller) {
      if (!(await sessions.forgetOne(name, clientId))) {
        const text = `${name} has no session with the client id "${clientId}"; see session/list`
        throw new Refusal('not_found', text, 'clientId')
      }
      const detail = { name, clientId }
      await store.transact((tx) =>
        tx.audit(audit(context, 'session.forgotten', { actor: caller.name, detail })),
      )
      log.info({ ...detail, by: caller.name }, `a session of ${name} is forgotten`)
      return { name, clientId }
    },
  }
}

/** Makes the place of a session in the list, as the port orders them. */
function placeOf({ name, clientId }: KnownSession): string {
  return `${name} ${clientId}`
}

function show({ since, address, ...session }: KnownSession) {
  return { ...session, ...(address === undefined ? {} : { address }), since: iso(since) }
}
