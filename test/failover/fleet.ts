import mqtt, { type MqttClient } from 'mqtt'
import type { Loose } from '../support/client.ts'

/** Limbs that come back by themselves, and remember what they were told to do. */

const BEAT_MS = 4000
const BACK_MS = 300

export interface Fleet {
  /** How often each invocation was run, by the key in its parameters. */
  readonly runs: ReadonlyMap<string, number>
  readonly connected: number
  stop(): void
}

export function startFleet(port: number, ids: readonly string[], keyOf: (id: string) => string): Fleet {
  const runs = new Map<string, number>()
  const limbs = ids.map((id) => startLimb(port, id, keyOf(id), runs))
  return {
    runs,
    get connected() {
      return limbs.filter(({ client }) => client.connected).length
    },
    stop: () => {
      for (const limb of limbs) limb.stop()
    },
  }
}

function startLimb(port: number, id: string, password: string, runs: Map<string, number>) {
  const client: MqttClient = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
    username: id,
    password,
    clientId: id,
    clean: true,
    keepalive: 15,
    // Not all at the same moment, as no fleet does.
    reconnectPeriod: BACK_MS + Math.floor(Math.random() * BACK_MS),
    connectTimeout: 3000,
    queueQoSZero: false,
  })
  const beat = () => {
    if (client.connected) client.publish(`limb/node/${id}/heartbeat`, '{"status":"online"}', { qos: 0 })
  }
  client.on('error', () => undefined)
  client.on('connect', () => {
    client.subscribe(`limb/node/${id}/invoke`, { qos: 1 }, () => undefined)
    beat()
  })
  client.on('message', (_topic, payload) => {
    const { invocationId, params } = JSON.parse(payload.toString()) as Loose
    runs.set(params.key, (runs.get(params.key) ?? 0) + 1)
    client.publish(`limb/node/${id}/result`, JSON.stringify({ invocationId, success: true }), { qos: 1 })
  })
  const timer = setInterval(beat, BEAT_MS)
  return {
    client,
    stop() {
      clearInterval(timer)
      client.end(true)
    },
  }
}
