import type { Portion } from './aedes-internals.ts'
import type { GuardedPersistence } from './guarded-persistence.ts'
import type { RetainedFor } from './retained-line.ts'
import type { MqttSession } from './session.ts'

/**
 * Sends what is retained for filters that were granted just now, behind what earlier ones brought. Who speaks MQTT 5 may
 * have asked not to get it, and gets the identifier of the subscription with each message.
 */
export function sendRetained(
  session: MqttSession,
  filters: readonly string[],
  persistence: GuardedPersistence,
): void {
  const { delivery, translator } = session
  const asked = delivery.beginRetained(filters)
  // As it is asked now: a later SUBSCRIBE may ask otherwise.
  const wanted =
    translator === undefined
      ? filters
      : filters.filter((filter) => translator.subscribing.wantsRetained(filter))
  const send = (all: readonly string[], since: RetainedFor) =>
    translator === undefined
      ? delivery.sendRetained(persistence.retainedFor(all), since)
      : sendEach(session, all, since, persistence)
  delivery.retainedInOrder(wanted, asked, send).then(
    () => delivery.endRetained(),
    (error: unknown) => session.fail(error, 'retained messages could not be sent'),
  )
}

async function sendEach(
  session: MqttSession,
  filters: readonly string[],
  asked: RetainedFor,
  persistence: GuardedPersistence,
): Promise<void> {
  const { delivery } = session
  for (const filter of filters) {
    if (session.isGone) return
    const identifier = delivery.filters.identifierOf(filter)
    const identifiers = identifier === undefined ? undefined : [identifier]
    await delivery.sendRetained(persistence.retainedFor([filter]), { ...asked, identifiers })
  }
}

/** Returns the messages of a portion, for who takes them one after the other. */
export async function packetsOf<T>(portion: Portion<T>): Promise<Iterable<T>> {
  if (typeof portion !== 'function') return portion
  const packet = await portion()
  return packet === undefined ? [] : [packet]
}
