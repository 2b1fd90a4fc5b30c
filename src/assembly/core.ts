import { Core } from '../bridge/core.ts'
import { joinViews } from '../bridge/live/retained-view.ts'
import type { BridgeContext } from '../bridge/settings.ts'
import { logAuditEnd } from '../bridge/upkeep/audit-mark.ts'
import { warningsOf } from '../broker/warnings.ts'
import { HomeAssistant } from '../homeassistant/home-assistant.ts'
import { secretLines } from '../host/config/secret-lines.ts'
import { createHttpLimbClient } from '../http/limb-client/client.ts'
import { createWebhookClient } from '../http/webhooks/client.ts'
import { PASSWORD_COST } from '../kernel/secrets.ts'
import type { StoreParts } from '../store/engine.ts'
import type { Build, CoreParts } from './parts.ts'
import { readinessNow } from './readings.ts'
import { firstStart, masterOf } from './secrets.ts'
import { settingsOf } from './settings.ts'
import { systemOf } from './system.ts'
import { dataUpkeep, sweepSessions } from './upkeep.ts'
import { announceHere } from './uplinks.ts'

/** Builds the use cases, and brings everything that lasts into memory, every limb as offline. */
export async function buildCore(build: Build, stored: StoreParts): Promise<CoreParts> {
  const { options, topics, version } = build
  const context = contextOf(build, stored, await masterOf(options.config, stored.secrets))
  const core = new Core(context)
  await core.load()
  const adminPassword = await firstStart(core, options, stored)
  await logAuditEnd(context)
  const homeAssistant = new HomeAssistant({
    settings: options.config.homeAssistant,
    presence: context.settings.presence,
    version,
    topics,
    registry: core.registry,
    clock: context.clock,
  })
  const announced = options.config.homeAssistant.enabled ? announceHere(homeAssistant, context) : undefined
  const view = announced ? joinViews(core.view, announced.view) : core.view
  return build.core.fill({ context, core, adminPassword, homeAssistant, announced, view })
}

/** The ports of the use cases, of which those that the broker serves come to life with it. */
function contextOf(build: Build, stored: StoreParts, master: Uint8Array): BridgeContext {
  const { running, store, mqttStore, webhookQueue, backups } = stored
  const { options, topics, version, metrics, now, core, broker } = build
  const { config, clock, log } = options
  return {
    clock,
    log,
    counters: metrics,
    topics,
    passwordCost: options.passwordCost ?? PASSWORD_COST,
    running,
    settings: settingsOf(config, version),
    store,
    publisher: {
      get isBehind() {
        return broker.value.broker.publisher.isBehind
      },
      publish: (topic, payload, how) => broker.value.broker.publisher.publish(topic, payload, how),
      clearRetainedOf: (nodeId) => broker.value.broker.publisher.clearRetainedOf(nodeId),
      mayPublish: (nodeId, topic) => broker.value.broker.publisher.mayPublish(nodeId, topic),
      retained: (topic) => broker.value.broker.publisher.retained(topic),
    },
    sessions: {
      forget: (name) => broker.value.broker.sessions.forget(name),
      list: (page) => broker.value.broker.sessions.list(page),
      forgetOne: (name, clientId) => broker.value.broker.sessions.forgetOne(name, clientId),
    },
    backups,
    system: systemOf(build, backups),
    upkeep: {
      ...dataUpkeep(mqttStore, topics),
      sweepSessions: () => sweepSessions(broker.value.persistence, now.config.mqtt.sessionExpirySeconds),
    },
    health: () => ({
      ...readinessNow(build),
      lead: stored.leadership.leads,
      warnings: [
        ...databaseAway(store),
        ...warningsOf(broker.value.broker.counters),
        ...core.value.core.webhooks.warnings(),
      ],
      uplinks: broker.value.uplinks.map((uplink) => uplink.readings()),
    }),
    invokeOverHttp: {
      master,
      client: createHttpLimbClient({
        clock,
        networks: () => now.config.invocation.httpNetworks,
        caFile: () => now.config.invocation.caFile,
      }),
    },
    webhooks: {
      queue: webhookQueue,
      client: createWebhookClient({ clock, networks: () => now.config.invocation.httpNetworks }),
      configured: () => now.config.webhooks,
      publicUrl: () => now.config.http.publicUrl,
      secretLines,
    },
  }
}

/** It is ready all the same, so that it stands here. */
function databaseAway({ health }: StoreParts['store']): string[] {
  const now = health()
  if (now.ok || !now.away) return []
  return [
    `the database is away: changes are refused, and this bridge ends when it has not come back within lead.fenceSeconds (${now.reason})`,
  ]
}
