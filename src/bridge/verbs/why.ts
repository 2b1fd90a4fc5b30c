import { iso } from '../../kernel/clock.ts'
import type { RunningMs } from '../../kernel/running-clock.ts'
import { isAwake, type Role } from '../../protocol/names.ts'
import type { VerbResult } from '../../protocol/results.ts'
import type { RefusedItem } from '../../protocol/schemas.ts'
import type { PendingPairingRequests } from '../live/pending.ts'
import type { LiveLimb, Registry } from '../live/registry.ts'
import type { SessionTable } from '../live/sessions.ts'
import type { Session } from '../ports.ts'
import { type BridgeContext, intervalsOf } from '../settings.ts'
import type { Attempt, Attempts } from '../sign-in/attempts.ts'

interface WhyParts {
  readonly registry: Registry
  readonly pending: PendingPairingRequests
  readonly table: SessionTable
  readonly attempts: Attempts
}

type Why = VerbResult<'node/why'>

/** Refused keys of one name that are shown. */
const MAX_REFUSED = 16
/** Addresses with a failed TLS handshake that are shown. */
const MAX_HANDSHAKES = 3

/** Explains why a device does not connect, or what it lacks: all that is known of a name, and what to do next. */
export async function whyOf(context: BridgeContext, parts: WhyParts, nodeId: string): Promise<Why> {
  const { registry, pending, table, attempts } = parts
  const { topics } = context
  const limb = registry.get(nodeId)
  const session = table.limb(nodeId) ?? table.named(nodeId).findLast((each) => each.alive)
  const { refused: lastRefused, registration, denied: lastDenied } = attempts.of(nodeId)
  const requests = pending.ofNode(nodeId).map((request) => pending.show(request))
  const refused = await refusedOf(context, nodeId)
  const dueAt = limb ? heartbeatDueAt(context, limb) : undefined
  const principal = limb ? undefined : await context.store.read((tx) => tx.principal(nodeId))
  const role = principal?.role
  const found = { limb, dueAt, role, session, attempt: attempts.of(nodeId), requests, refused }
  return {
    nodeId,
    known: limb !== undefined,
    ...(limb && { status: limb.status, reason: limb.reason }),
    ...(session && { session: shownSession(session, attempts, topics.node(nodeId, 'invoke')) }),
    ...(lastRefused && { lastRefusedSignIn: { ...lastRefused, at: iso(lastRefused.at) } }),
    ...(registration && { lastRefusedRegistration: { ...registration, at: iso(registration.at) } }),
    ...(lastDenied && {
      lastDenied: { at: iso(lastDenied.at), what: lastDenied.what, topic: lastDenied.topic },
    }),
    ...(requests.length > 0 && { pending: requests }),
    ...(refused.length > 0 && { refused }),
    ...(dueAt !== undefined && { heartbeatDueAt: dueAt }),
    advice: adviceOf(context, nodeId, found, parts),
  }
}

function shownSession(
  session: Session,
  attempts: Attempts,
  invokeTopic: string,
): NonNullable<Why['session']> {
  const { address, clientId, identity, version } = session
  const since = attempts.openedAt(session)
  return {
    address,
    clientId,
    as: identity.kind,
    ...(since === undefined ? {} : { since: iso(since) }),
    ...(version === undefined ? {} : { version }),
    ...(identity.kind === 'limb' && { subscribed: session.subscribedTo(invokeTopic) }),
  }
}

async function refusedOf({ store, running }: BridgeContext, nodeId: string): Promise<RefusedItem[]> {
  // A cursor just before the first one of this name.
  const page = await store.read((tx) => tx.refused(running.now(), nodeId, MAX_REFUSED))
  return page.items
    .filter((item) => item.nodeId === nodeId)
    .map(({ why, at, until }) => ({
      nodeId,
      why,
      at: iso(at),
      until: iso(running.wallMs(until as RunningMs)),
    }))
}

function heartbeatDueAt({ clock }: BridgeContext, { status, deadline }: LiveLimb): string | undefined {
  if (status === 'offline' || !Number.isFinite(deadline)) return undefined
  return iso(clock.wallMs() + deadline - clock.monotonicMs())
}

interface Found {
  readonly limb: LiveLimb | undefined
  /** The time by which it must be heard, ISO 8601; undefined when there is none. */
  readonly dueAt: string | undefined
  /** The role of the principal that has the name. */
  readonly role: Role | undefined
  readonly session: Session | undefined
  readonly attempt: Attempt
  readonly requests: readonly { code?: string | undefined; requestId: string; kind: string }[]
  readonly refused: readonly RefusedItem[]
}

function adviceOf(context: BridgeContext, nodeId: string, found: Found, parts: WhyParts): string[] {
  const { limb, dueAt, role, session, requests, refused } = found
  const handshakes = session ? [] : ofHandshakes(parts)
  const lines = [
    ...(limb ? ofLimb(context, limb, dueAt, session) : []),
    ...(role ? [ofPrincipal(nodeId, role)] : []),
    ...requests.map((request) => ofRequest(nodeId, request, limb !== undefined)),
    ...refused.slice(0, 1).map(({ why, until }) => ofRefused(nodeId, why, until)),
    ...ofAttempts(context, nodeId, found),
    ...handshakes,
  ]
  if (lines.length > handshakes.length) return lines
  return [ofVisits(context, nodeId, found), ...handshakes]
}

function ofPrincipal(name: string, role: Role): string {
  return `${name} is a principal (${role}), and no limb can have its name: give the device a name of its own, as its user name and in its topics`
}

/** Says of a name of which nothing else is known whether a device has connected under it. */
function ofVisits(context: BridgeContext, nodeId: string, { session, attempt }: Found): string {
  const { connected } = attempt
  if (session) {
    return `a device is connected as ${nodeId} from ${session.address} and has not registered: ${registerFirst(context, nodeId)}`
  }
  if (connected) {
    const left = connected.registered
      ? 'after it had registered; its request has expired or was withdrawn: let it register again'
      : `without registering: ${registerFirst(context, nodeId)}`
    return `a device connected as ${nodeId} from ${connected.address} at ${iso(connected.at)}, and left ${left}`
  }
  const uptime = Math.round(context.clock.monotonicMs() / 1000)
  return (
    `nobody has tried the name ${nodeId} since the bridge started (${uptime} s at most): look at the address, the port and the ` +
    'user name (else the client id) that the device uses, and at the spelling (`limb-bridge node list`)'
  )
}

/** Some programs cannot register: an operator makes limbs of them. */
function registerFirst({ topics }: Pick<BridgeContext, 'topics'>, nodeId: string): string {
  return `it must publish ${topics.node(nodeId, 'register')} first, after each connect; for a program that cannot, \`limb-bridge node provision ${nodeId}\` makes the limb and its key`
}

function ofLimb(
  context: BridgeContext,
  limb: LiveLimb,
  dueAt: string | undefined,
  session: Session | undefined,
): string[] {
  const { nodeId } = limb.record
  const every = intervalsOf(context.settings, limb.record).heartbeatSeconds
  if (isAwake(limb.status)) {
    const listens = session?.subscribedTo(context.topics.node(nodeId, 'invoke')) === true
    return listens || limb.record.invoke === 'http'
      ? [`${nodeId} is ${limb.status}: nothing is wrong with its connection`]
      : [
          `${nodeId} is ${limb.status}, but has not subscribed ${context.topics.node(nodeId, 'invoke')}: it cannot be invoked`,
        ]
  }
  if (limb.rule.mode === 'probe') return [ofProbed(limb)]
  if (session?.identity.kind === 'limb') {
    return [
      `${nodeId} is connected from ${session.address} and silent: it must publish ${context.topics.node(nodeId, 'heartbeat')} every ${every} s`,
    ]
  }
  if (session === undefined && limb.status === 'asleep') return [ofSleeping(limb, dueAt)]
  if (session !== undefined) {
    return [
      `a device is connected as ${nodeId} from ${session.address} with another key than the approved one: ${anotherKey(nodeId)}`,
    ]
  }
  return [`${nodeId} is not connected: ${OFFLINE[limb.reason] ?? `it is ${limb.status} (${limb.reason})`}`]
}

function ofSleeping({ record: { nodeId } }: LiveLimb, dueAt: string | undefined): string {
  const until = dueAt === undefined ? '' : `; it is offline when it is not heard until ${dueAt}`
  return `${nodeId} sleeps between two visits, as it should${until}. An invocation with offlineWaitSeconds is sent on its next visit`
}

function ofProbed({ record: { nodeId, endpointUrl } }: LiveLimb): string {
  return endpointUrl === null
    ? `${nodeId} is to be probed and has no endpointUrl: it must register one`
    : `the server of ${nodeId} does not answer at ${endpointUrl} (/health): look at its power and network; the log of the bridge says why`
}

const OFFLINE: Readonly<Record<string, string>> = {
  timeout: 'its heartbeats stopped; look at its power and network',
  connection_lost: 'its connection broke; look at its power and network',
  disconnected: 'it said goodbye; start it, or let it stay connected',
  deregistered: 'it said goodbye; its next heartbeat brings it back',
  reported: 'it said that it is offline; its next heartbeat brings it back',
  bridge_restart: 'it has not come back since the bridge started; look whether it tries',
  approved: 'it is approved and was never heard; let it connect with its key',
  bridge_stopped: 'the bridge stops',
}

function anotherKey(nodeId: string): string {
  return `give it the key of ${nodeId} (\`limb-bridge node rotate-key\` makes a new one), or let it register and approve its request`
}

function ofRequest(
  nodeId: string,
  { code, requestId, kind }: Found['requests'][number],
  known: boolean,
): string {
  if (kind === 'widen')
    return `${nodeId} asks for more: look at it with \`limb-bridge pairing approve ${requestId}\``
  const what = known ? 'a device with another key asks for this name' : `${nodeId} asks to be paired`
  return `${what}: compare the code ${code} with the device, then \`limb-bridge pairing approve ${requestId}\``
}

function ofRefused(nodeId: string, why: string, until: string): string {
  const what: Readonly<Record<string, string>> = {
    rejected: 'its key was rejected',
    revoked: 'it was revoked',
    other_approved: 'another claim to the name was approved',
    widening_rejected: 'more ability was refused to it',
  }
  return `${what[why] ?? why}, and is refused until ${until}: \`limb-bridge pairing forgive ${nodeId}\` lets it ask again`
}

/** A device that fails in TLS names itself by its address alone: any of these may be the one that is looked for. */
function ofHandshakes({ attempts }: WhyParts): string[] {
  return attempts.handshakes
    .slice(0, MAX_HANDSHAKES)
    .map(
      ({ address, at, reason }) =>
        `a TLS handshake failed, from ${address} at ${iso(at)}; if that is this device: ${reason}`,
    )
}

function ofAttempts(context: BridgeContext, nodeId: string, found: Found): string[] {
  const { session, attempt } = found
  const lines: string[] = []
  const { refused, registration, denied } = attempt
  if (registration) {
    lines.push(
      `its last registration, from ${registration.address} at ${iso(registration.at)}, was refused: ${registration.reason}`,
    )
  }
  if (refused && session?.identity.kind !== 'limb') {
    lines.push(
      `its last sign-in, from ${refused.address} at ${iso(refused.at)}, was refused: ${refused.reason}`,
    )
  }
  if (denied) lines.push(ofDenied(context, nodeId, found, denied))
  return lines
}

type Denied = NonNullable<Attempt['denied']>

function ofDenied({ topics }: BridgeContext, nodeId: string, found: Found, denied: Denied): string {
  const { limb, requests } = found
  const { what, topic } = denied
  const at = iso(denied.at)
  const wildcard = what === 'subscribe' && /[+#]/.test(topic) ? `; ${byWholeTopics(topics, nodeId)}` : ''
  if (!limb && requests.length === 0 && what === 'publish') {
    const does = topic === topics.node(nodeId, 'heartbeat') ? 'sends heartbeats' : `publishes ${topic}`
    return `it ${does} before it is approved: ${registerFirst({ topics }, nodeId)}`
  }
  if (denied.asCandidate && limb && denied.at < limb.record.approvedAt)
    return `before the last approval of ${nodeId}, a device of this name was denied its ${what} of ${topic} at ${at}: if it was this one, it must ask for it again, or connect anew${wildcard}`
  if (denied.asCandidate && limb)
    return `a device that connected as ${nodeId} with another key than the approved one was denied its ${what} of ${topic} at ${at}: ${anotherKey(nodeId)}`
  return `its last ${what} that was denied: ${topic} at ${at}; docs/protocol/reference.md has what it may${wildcard}`
}

function byWholeTopics(topics: BridgeContext['topics'], nodeId: string): string {
  return `a device subscribes ${topics.node(nodeId, 'pairing')} and ${topics.node(nodeId, 'invoke')} by their whole names, without wildcards`
}
