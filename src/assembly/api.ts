import type { Core } from '../bridge/core.ts'
import type { RetainedView } from '../bridge/ports.ts'
import { singleRequest } from '../bridge/verbs/single-request.ts'
import type { Broker } from '../broker/broker.ts'
import type { ApiPorts } from '../http/api/ports.ts'
import { topicsOf } from '../protocol/topics.ts'
import type { AppOptions } from './options.ts'

/** Returns what the HTTP API and MCP need of the bridge. */
export function apiPorts(
  core: Core,
  view: RetainedView,
  broker: Broker,
  { config, version = '0.0.0' }: AppOptions,
): ApiPorts {
  return {
    admit: core.admit,
    isCurrent: (identity) => core.isCurrent(identity),
    whenEnded: (identity, ended) => core.whenEnded(identity, ended),
    ask: (request) => singleRequest(core, request),
    inbound: core,
    topics: topicsOf(config.mqtt.topicRoot),
    view,
    feed: broker.feed,
    version,
  }
}
