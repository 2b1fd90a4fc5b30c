import { createBroker } from '../broker/broker.ts'
import {
  createPersistence,
  type MqttPersistence,
  type PersistenceLimits,
} from '../broker/persistence/persistence.ts'
import { subscriptionsOfPrincipal } from '../broker/subscription-limit.ts'
import type { Config } from '../host/config/config.ts'
import { LogThrottle } from '../kernel/log-throttle.ts'
import type { StoreParts } from '../store/engine.ts'
import type { Uplink } from '../uplink/uplink.ts'
import type { BrokerParts, Build, CoreParts } from './parts.ts'
import { DROPPED, grantsOf, persistenceLimits } from './settings.ts'
import { createUplink } from './uplinks.ts'

/** Builds the embedded broker on the core, and the uplinks that are fed by it; nothing listens or connects yet. */
export async function buildBroker(build: Build, stored: StoreParts, built: CoreParts): Promise<BrokerParts> {
  const { options, topics, teardown } = build
  const { config, clock, log } = options
  const { context, core, homeAssistant, announced, view } = built
  const storedLimits = persistenceLimits(config, topics)
  const persistence = buildPersistence(build, stored, built, {
    limits: storedLimits,
    maxSubscriptions: subscriptionsLoaded(config.mqtt, core.registry.size),
  })
  const broker = await createBroker({
    topics,
    inbound: core,
    persistence,
    view,
    clock,
    log,
    limits: config.mqtt,
    grants: grantsOf(config),
    limbs: () => core.registry.size,
  })
  teardown.add(() => broker.stop())
  broker.feed.listen((message) => {
    core.published(message)
    homeAssistant.heard(message)
    if (announced !== undefined && message.topic === announced.birthTopic) announced.birth(message.payload)
  })
  teardown.add(() => homeAssistant.stop())
  const uplinks: Uplink[] = []
  const parts = build.broker.fill({ broker, persistence, storedLimits, uplinks })
  for (const settings of config.uplinks) {
    uplinks.push(await createUplink(settings, context, core, broker, homeAssistant))
  }
  teardown.add(async () => {
    await Promise.all(uplinks.map((uplink) => uplink.stop()))
  })
  // Limbs and the bridge itself go offline while those who watch are still connected.
  teardown.add(() => core.stop())
  return parts
}

/** Returns the subscriptions of one identity that a start loads: those that a principal, or a limb, may have. */
function subscriptionsLoaded(limits: Config['mqtt'], limbs: number): number {
  const ofLimb = limits.maxStoredSessionsPerIdentity * limits.maxSubscriptionsPerSession
  return Math.max(ofLimb, subscriptionsOfPrincipal(limits, limbs))
}

function buildPersistence(
  { options, metrics, teardown }: Build,
  { mqttStore, running }: StoreParts,
  { view }: CoreParts,
  loaded: { readonly limits: PersistenceLimits; readonly maxSubscriptions: number },
): MqttPersistence {
  const { clock, log } = options
  const dropped = new LogThrottle(clock, { quietMs: 10_000, lines: 1, maxKeys: 10, maxLines: 10 })
  teardown.add(() => dropped.stop())
  return createPersistence({
    store: mqttStore,
    view,
    clock,
    running,
    log,
    ...loaded,
    onDropped(kind) {
      metrics.count('messages_dropped', kind)
      dropped.write(kind, (suppressed) => log.warn({ why: kind, suppressed }, DROPPED[kind]))
    },
  })
}
