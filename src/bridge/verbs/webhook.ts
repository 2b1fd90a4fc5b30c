import type { VerbHandlersOf } from '../verb-context.ts'
import type { Webhooks } from '../webhooks/webhooks.ts'

/** Makes the verbs about webhooks. */
export function webhookHandlers(webhooks: Webhooks): VerbHandlersOf<'webhook'> {
  return {
    async 'webhook/list'() {
      return { items: webhooks.list() }
    },

    async 'webhook/test'({ name }, caller) {
      return await webhooks.test(name, caller.name)
    },
  }
}
