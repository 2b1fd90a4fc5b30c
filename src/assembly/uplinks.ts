import type { Core } from '../bridge/core.ts'
import type { BridgeContext } from '../bridge/settings.ts'
import { remotePeer } from '../bridge/verbs/remote-peer.ts'
import type { Broker } from '../broker/broker.ts'
import type { HomeAssistant, OpenDiscovery } from '../homeassistant/home-assistant.ts'
import type { Config } from '../host/config/config.ts'
import { topicsOf } from '../protocol/topics.ts'
import type { Uplink } from '../uplink/uplink.ts'

/** Publishes to more than the embedded broker's own clients: other brokers, and Home Assistant here and there. */

export function announceHere(
  homeAssistant: HomeAssistant,
  { topics, publisher }: BridgeContext,
): OpenDiscovery {
  return homeAssistant.open({
    topics,
    commands: true,
    publish: (topic, payload, retain) => publisher.publish(topic, payload, { qos: 1, retain }),
  })
}

/** The MQTT client is loaded by who has an uplink, and by nobody else. */
export async function createUplink(
  settings: Config['uplinks'][number],
  { topics, store, clock, log }: BridgeContext,
  core: Core,
  { feed }: Broker,
  homeAssistant: HomeAssistant,
): Promise<Uplink> {
  const { Uplink: Client } = await import('../uplink/uplink.ts')
  const discovery = settings.homeAssistant
    ? homeAssistant.open({
        topics: topicsOf(settings.prefix),
        commands: settings.requests.principals.includes(homeAssistant.principal),
        publish: (topic, payload, retain) => uplink.offer({ topic, payload, qos: 1, retain }),
      })
    : undefined
  const extraView = discovery && {
    view: discovery.view,
    filter: discovery.filter,
    wrote: discovery.wrote,
    topic: discovery.birthTopic,
    heard: discovery.birth,
  }
  const peer = () => remotePeer(core, store, `uplink:${settings.name}`)
  const uplink: Uplink = new Client({
    settings,
    topics,
    view: core.view,
    feed,
    extraView: extraView,
    peer,
    clock,
    log,
  })
  return uplink
}
