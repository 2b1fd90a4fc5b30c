import { buildBroker } from './assembly/broker.ts'
import { buildCore } from './assembly/core.ts'
import { buildCertificates, openListeners } from './assembly/listeners.ts'
import type { AppOptions, RunningBridge } from './assembly/options.ts'
import { type BrokerParts, type Build, type CoreParts, Late, type ListenerParts } from './assembly/parts.ts'
import { collect, statusLine } from './assembly/readings.ts'
import { grantsOf, httpLimits, persistenceLimits, settingsOf } from './assembly/settings.ts'
import { buildStore } from './assembly/store.ts'
import type { BridgeSettings } from './bridge/settings.ts'
import type { Config } from './host/config/config.ts'
import { NO_SOCKETS } from './host/systemd/activation.ts'
import { unusableOutwards } from './host/tls/certificate-files.ts'
import { createMetrics } from './http/metrics.ts'
import { Teardown } from './kernel/teardown.ts'
import { topicsOf } from './protocol/topics.ts'
import type { StoreParts } from './store/engine.ts'

/**
 * The bridge is a set of pure decisions about limbs, kept in SQLite and spoken over MQTT. Everything that
 * touches the world is an adapter at the edge, named for its technology and handed in here. Data goes one
 * way: bytes, message, decision, commit, publish.
 *
 * This file is the one composition root: it constructs, starts, and stops in reverse. The four builders are in
 * `assembly/`: store, core, broker, listeners.
 */

/** Database, statuses offline, webhooks, listeners, `limb/bridge/status` online, ready: in this order. */
export async function startBridge(options: AppOptions): Promise<RunningBridge> {
  const teardown = new Teardown()
  try {
    return await start(options, teardown)
  } catch (error) {
    await teardown.run().catch(() => undefined)
    throw error
  }
}

async function start(options: AppOptions, teardown: Teardown): Promise<RunningBridge> {
  for (const problem of (options.inherited ?? NO_SOCKETS).problems) options.log.warn({}, problem)
  for (const problem of unusableOutwards(options.config)) options.log.warn({}, problem)
  const build = begin(options, teardown)
  await buildCertificates(build)
  const store = await buildStore(build)
  const core = await buildCore(build, store)
  const broker = await buildBroker(build, store, core)
  core.core.opening()
  const listeners = await openListeners(build, core, broker)
  core.core.ready()
  for (const uplink of broker.uplinks) uplink.start()
  build.now.phase = 'running'
  return running(build, { store, core, broker, listeners })
}

function begin(options: AppOptions, teardown: Teardown): Build {
  const { config, version = '0.0.0' } = options
  const build: Build = {
    options,
    version,
    teardown,
    topics: topicsOf(config.mqtt.topicRoot),
    metrics: createMetrics({ version, collect: () => collect(build) }),
    now: {
      config,
      phase: 'starting',
      standby: undefined,
      standbyDoors: undefined,
      certificates: undefined,
      http: undefined,
    },
    store: new Late('the store'),
    core: new Late('the core'),
    broker: new Late('the broker'),
  }
  return build
}

interface Parts {
  readonly store: StoreParts
  readonly core: CoreParts
  readonly broker: BrokerParts
  readonly listeners: ListenerParts
}

function running(build: Build, parts: Parts): RunningBridge {
  const { core, adminPassword } = parts.core
  const { broker } = parts.broker
  const { mqtt, tls, control, http, firstStartSecret } = parts.listeners
  return {
    mqtt,
    tls,
    http: http && {
      scheme: build.options.config.http.tls ? 'https' : 'http',
      host: http.host,
      port: http.port,
    },
    control,
    adminPassword,
    firstStartSecret,
    reloadCertificates: async () => await build.now.certificates?.reload(),
    status: () => statusLine(core, broker),
    async probe() {
      await parts.store.store.read((tx) => tx.principals(undefined, 1))
      await broker.settled()
    },
    apply: (next) => apply(build, parts, next),
    lost: parts.store.leadership.lost,
    stop() {
      build.now.phase = 'stopping'
      return build.teardown.run()
    },
  }
}

/** Takes over the live settings of a reload. */
function apply(
  { now, options, topics, version }: Build,
  { store, core, broker, listeners }: Parts,
  next: Config,
): void {
  now.config = next
  options.log.setLevel(next.log.level)
  const { settings } = core.context
  for (const [section, values] of Object.entries(settingsOf(next, version))) {
    // In place: the use cases hold the sections, and look into them when they decide.
    if (typeof values === 'object') Object.assign(settings[section as keyof BridgeSettings], values)
  }
  Object.assign(broker.storedLimits, persistenceLimits(next, topics))
  core.core.webhooks.configure()
  broker.broker.setLimits(next.mqtt)
  broker.broker.setGrants(grantsOf(next))
  listeners.http?.setLimits(httpLimits(next))
  store.setMaxBytes(next.store.maxBytes)
}
