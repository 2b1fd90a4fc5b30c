import { readFileSync } from 'node:fs'
import type { IClientSubscribeOptions, IConnackPacket, MqttClient } from 'mqtt'
import type { LinkTarget } from '../client/mqtt-link.ts'
import { trustedAuthorities } from '../kernel/authorities.ts'
import { messageOf } from '../kernel/errors.ts'
import { authoritiesIn } from '../kernel/pem.ts'
import { firstLineOfSecret } from '../kernel/secret-text.ts'
import type { UplinkMessage, UplinkSettings } from './ports.ts'

/** One connection to the other broker, from CONNACK to its end. */

/** The words of the other broker about itself at CONNECT; MQTT 3.1.1 has no words for it. */
export interface Announced {
  /** The largest packet that it takes. */
  readonly maxPacketBytes?: number | undefined
  /** Messages of QoS 1 that may be under way. */
  readonly receiveMaximum?: number | undefined
  readonly maximumQos?: number | undefined
  readonly retain?: boolean | undefined
}

export interface UplinkConnection {
  /** Calls back when it was acknowledged or refused; not at all when the connection ends before. */
  send(message: UplinkMessage, done: (error: Error | undefined) => void): void
  /** Calls back when the other broker has read everything before this; not at all when the connection ends first. */
  settle(done: () => void): void
  /** Resolves to the filters that were refused. Rejects when the connection ends. */
  subscribe(filters: readonly string[]): Promise<readonly string[]>
  unsubscribe(filters: readonly string[]): void
  /** Ends it: the will says what is true until it is back. */
  cut(): void
}

const CONNECT_TIMEOUT_MS = 10_000
const KEEPALIVE_SECONDS = 30
/** The size of the largest packet: no request is larger; MQTT 5 lets us say so. */
const MAX_PACKET_BYTES = 1_310_720
const REFUSED = 128

export function announcedBy({ properties }: IConnackPacket): Announced {
  return {
    maxPacketBytes: properties?.maximumPacketSize,
    receiveMaximum: properties?.receiveMaximum,
    maximumQos: properties?.maximumQoS,
    retain: properties?.retainAvailable,
  }
}

/** `client` is connected; `cut` ends what the link has now. */
export function uplinkConnection(client: MqttClient, cut: () => void): UplinkConnection {
  const settle = settler(client)
  let over = false
  client.on('close', () => {
    over = true
  })
  return {
    settle: (done) => settle(() => over || done()),
    send({ topic, payload, qos, retain }, done) {
      const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
      client.publish(topic, bytes, { qos, retain }, (error) => {
        // Without a reason code it is no refusal but the end of the connection, which is told by itself.
        const isEnd = error && typeof (error as { code?: unknown }).code !== 'number'
        if (!over && !isEnd) done(error ?? undefined)
      })
    },
    subscribe: (filters) => subscribe(client, filters),
    unsubscribe(filters) {
      if (!over) client.unsubscribe([...filters], () => undefined)
    },
    cut() {
      if (over) return
      over = true
      cut()
    },
  }
}

/** PINGRESP comes after everything before its PINGREQ was read; the keepalive sends some too. */
function settler(client: MqttClient): (done: () => void) => void {
  const waiting: { readonly ping: number; readonly done: () => void }[] = []
  let sent = 0
  let answered = 0
  client.on('packetsend', ({ cmd }) => {
    if (cmd === 'pingreq') sent++
  })
  client.on('packetreceive', ({ cmd }) => {
    if (cmd !== 'pingresp') return
    answered++
    while (waiting[0] !== undefined && waiting[0].ping <= answered) waiting.shift()?.done()
  })
  return (done) => {
    if (!client.connected) return
    const before = sent
    client.sendPing()
    waiting.push({ ping: Math.max(sent, before + 1), done })
  }
}

function subscribe(client: MqttClient, filters: readonly string[]): Promise<readonly string[]> {
  const options: IClientSubscribeOptions = { qos: 1 }
  return new Promise((resolve, reject) => {
    client.subscribe([...filters], options, (error, _granted, packet) => {
      const codes = (packet as { granted?: readonly number[] } | undefined)?.granted
      // An error with a SUBACK is a refusal, and says which; any other is the end of the connection.
      if (codes === undefined && error) reject(error)
      else resolve(filters.filter((_, i) => (codes?.[i] ?? 0) >= REFUSED))
    })
  })
}

/** `will` is said by the other broker when the connection is lost. Throws for a file that cannot be read. */
export function uplinkTarget(settings: UplinkSettings, will: UplinkMessage): LinkTarget {
  const { url, caFile, username, protocolVersion, prefix } = settings
  const password = passwordOf(settings)
  return {
    to: { url },
    options: {
      connectTimeout: CONNECT_TIMEOUT_MS,
      keepalive: KEEPALIVE_SECONDS,
      // Always the same: the other broker then ends a connection that is only half dead, and says its will,
      // before it takes this one. Another id would let that will say `offline` long after we said `online`.
      clientId: `limb-bridge-${prefix.replaceAll('/', '-')}`,
      ...(protocolVersion === 'auto' ? {} : { protocolVersion }),
      // MQTT 3.1.1 leaves them out.
      properties: { maximumPacketSize: MAX_PACKET_BYTES },
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      ...(url.startsWith('mqtts:') ? { ca: authoritiesOf(caFile) } : {}),
      will: { ...will, payload: Buffer.from(will.payload) },
    },
  }
}

/** A named file stands alone: the other broker is one, and is known. */
function authoritiesOf(caFile: string | undefined): string[] {
  if (caFile === undefined) return [...trustedAuthorities()]
  try {
    return authoritiesIn(caFile)
  } catch (error) {
    throw new Error(`caFile: cannot use ${caFile} (${messageOf(error)})`, { cause: error })
  }
}

function passwordOf({ password, passwordFile }: UplinkSettings): string | undefined {
  if (passwordFile === undefined) return password
  return firstLineOfSecret(readFileSync(passwordFile))
}
