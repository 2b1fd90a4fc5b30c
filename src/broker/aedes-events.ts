import type { AedesOptions } from 'aedes'
import type { Log, RetainedView } from '../bridge/ports.ts'
import type { TurnTime } from '../kernel/turn-time.ts'
import type { AedesClient, BrokerPersistence } from './aedes-internals.ts'
import type { ConnectHandler } from './connect-handler.ts'
import type { BrokerCounters, LimitName } from './counters.ts'
import { sendRetainedView } from './first-resume.ts'
import type { InboundPath } from './inbound-path.ts'
import { LeftMessages } from './left-messages.ts'
import { REASON } from './mqtt5/reasons.ts'
import type { OrderedBroker } from './ordered-broker.ts'
import type { MqttSession } from './session.ts'
import type { Unacknowledged } from './unacknowledged.ts'

/** Lists where Aedes calls this adapter: its hooks, and its events in the order of a session's life. */

export function sessionOf(client: unknown): MqttSession | undefined {
  return (client as AedesClient<MqttSession> | null)?.session
}

/** Aedes takes its hooks from these properties at each call. */
export function setHooks(broker: OrderedBroker, connects: ConnectHandler, path: InboundPath): void {
  type Hook<K extends keyof AedesOptions> = NonNullable<AedesOptions[K]>
  broker.preConnect = connects.preConnect as unknown as Hook<'preConnect'>
  broker.authorizePublish = path.authorizePublish as unknown as Hook<'authorizePublish'>
  broker.authorizeSubscribe = path.authorizeSubscribe as unknown as Hook<'authorizeSubscribe'>
}

export interface EventsOptions {
  readonly persistence: BrokerPersistence
  readonly view: RetainedView
  readonly left: Unacknowledged
  readonly log: Log
  readonly counters: BrokerCounters
  /** The time in which all sessions are sent what is retained. */
  readonly sending: TurnTime
  /** Sends what was queued for a session that returns. */
  readonly resend: (session: MqttSession, left: LeftMessages) => Promise<void>
  /** Sends what is retained for filters that were granted just now. */
  readonly sendRetained: (session: MqttSession, filters: readonly string[]) => void
}

export function followEvents(broker: OrderedBroker, options: EventsOptions): void {
  const { persistence } = options
  broker.on('client', (client) => {
    const { closed, id } = client as unknown as AedesClient
    sessionOf(client)?.registered()
    // Aedes registers a client that closed meanwhile, and would keep it in its table for ever.
    if (closed && id !== null) setImmediate(() => broker.drop(client as unknown as AedesClient))
  })
  broker.on('connackSent', (packet, client) => {
    if (packet.returnCode === 0) sessionOf(client)?.open()
  })
  broker.on('clientReady', (client) => {
    const session = sessionOf(client)
    if (session === undefined || client.clean) return
    resume(session, options).catch((error: unknown) => session.fail(error, 'a session could not be resumed'))
  })
  broker.on('subscribe', (subscriptions, client) => {
    const session = sessionOf(client)
    session?.listed('subscribe')
    const granted = subscriptions.filter(({ qos }) => (qos as number) < 128).map(({ topic }) => topic)
    if (session === undefined || granted.length === 0) return
    session.subscribed()
    options.sendRetained(session, granted)
  })
  broker.on('unsubscribe', (filters, client) => {
    const session = sessionOf(client)
    session?.delivery.unsubscribed(filters)
    session?.listed('unsubscribe')
  })
  broker.on('ack', (_packet, client) => sessionOf(client)?.delivery.outbox.acknowledged())
  broker.on('clientDisconnect', (client) => {
    const session = sessionOf(client)
    if (session !== undefined) options.left.keep(session, persistence.sessions.ownerOf(client.id))
    if (!client.clean)
      persistence.sessions.ended(client.id, session?.translator?.sessionExpirySeconds ?? null)
    session?.unregistered()
  })
  followErrors(broker, options)
}

async function resume(session: MqttSession, options: EventsOptions): Promise<void> {
  const { persistence, view, sending } = options
  const { delivery } = session
  const all = options.left.take(session)
  const left = new LeftMessages(all, async (each) => {
    if (!session.isGone && !sending.isLeft) await sending.next()
    if (delivery.mayReceive(each.message.packet.topic)) await delivery.outbox.resendLeft(each)
    else if (each.messageId !== undefined) delivery.outbox.drop(each.messageId)
  })
  delivery.outbox.reserve(all, () => left.toSend)
  await left.after(undefined)
  await options.resend(session, left)
  if (!session.isGone) await left.rest()
  if (session.isGone) return
  session.resumed()
  if (!persistence.sessions.takeStale(session.key)) return
  if (!(await sendRetainedView(session, view, sending))) persistence.sessions.missed(session.key)
}

/** Limits that Aedes keeps, by the beginning of what it says. */
const LIMIT_ERRORS: readonly (readonly [string, LimitName])[] = [
  ['connect did not arrive in time', 'connect_time'],
  ['maxInflightInbound exceeded', 'inflight'],
]

/** An `error` that nobody listens to ends the process. */
function followErrors(broker: OrderedBroker, { log, counters }: EventsOptions): void {
  broker.on('keepaliveTimeout', (client) => {
    counters.keepaliveTimeouts++
    sessionOf(client)?.translator?.farewell(
      REASON.keepAliveTimeout,
      'nothing came within one and a half keepalives',
    )
    log.debug({ clientId: client.id }, 'keepalive timed out')
  })
  for (const event of ['clientError', 'connectionError'] as const) {
    broker.on(event, (client, error) => {
      const limit = LIMIT_ERRORS.find(([text]) => error.message.startsWith(text))?.[1]
      if (limit !== undefined) sessionOf(client)?.limited(limit, {}, error.message)
      log.debug({ clientId: sessionOf(client)?.clientId, error: error.message }, 'connection error')
    })
  }
  broker.on(
    'error' as 'closed',
    ((error: unknown) => {
      log.error({ err: error }, 'the broker reported an error')
    }) as () => void,
  )
}
