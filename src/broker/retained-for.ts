import type { GuardedPersistence } from './guarded-persistence.ts'
import type { MqttSession } from './session.ts'

/**
 * Sends what is retained for filters that were granted just now. Who speaks MQTT 5 may have asked not to get it, and
 * gets the identifier of the subscription with each message.
 */
export function sendRetained(
  session: MqttSession,
  filters: readonly string[],
  persistence: GuardedPersistence,
): void {
  const { delivery, translator } = session
  const sending =
    translator === undefined
      ? delivery.sendRetained(persistence.retainedFor(filters), undefined)
      : sendEach(
          session,
          filters.filter((filter) => translator.subscribing.wantsRetained(filter)),
          persistence,
        )
  sending.then(
    () => delivery.retainedSent(filters.length),
    (error: unknown) => session.fail(error, 'retained messages could not be sent'),
  )
}

async function sendEach(
  session: MqttSession,
  filters: readonly string[],
  persistence: GuardedPersistence,
): Promise<void> {
  const { delivery } = session
  for (const filter of filters) {
    if (session.isGone) return
    await delivery.sendRetained(persistence.retainedFor([filter]), delivery.filters.identifierOf(filter))
  }
}
