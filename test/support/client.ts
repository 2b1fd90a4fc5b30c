import { EventEmitter, once } from 'node:events'
import { connect as connectUnix } from 'node:net'
import mqtt, { type IClientOptions, type IClientPublishOptions, type MqttClient } from 'mqtt'
import { patience } from './patience.ts'
import { connackCode, FOR_EVER, spoken, subackCode } from './spoken.ts'
import { storeQuiet } from './store.ts'

/** What came over the wire and is looked into without ceremony. */
export type Loose = ReturnType<typeof JSON.parse>

export interface Received {
  topic: string
  text: string
  retain: boolean
  qos: number
  /** Parsed when it is JSON. */
  json: Loose
}

/** mqtt.js with a memory: every message that came is kept until somebody waits for it. */
export class TestClient {
  readonly mqtt: MqttClient
  readonly #inbox: Received[] = []
  readonly #events = new EventEmitter()
  #transactions = 0

  constructor(client: MqttClient) {
    this.mqtt = client
    client.on('error', () => {})
    client.on('message', (topic, payload, packet) => {
      const text = payload.toString()
      let json = {}
      try {
        json = JSON.parse(text)
      } catch {}
      this.#inbox.push({ topic, text, retain: packet.retain, qos: packet.qos, json })
      this.#events.emit('message')
    })
  }

  /** The granted QoS of each filter; 128 for one that was refused. */
  async subscribe(filter: string | string[], qos: 0 | 1 | 2 = 1): Promise<number[]> {
    return await new Promise<number[]>((resolve, reject) =>
      this.mqtt.subscribe(filter, { qos }, (error, list, packet) => {
        const refused = (error as { packet?: { granted?: number[] } } | null)?.packet?.granted
        if (refused) resolve(refused.map(subackCode))
        else if (error) reject(error)
        else {
          const granted = (packet as { granted?: number[] } | undefined)?.granted
          resolve((granted ?? (list ?? []).map((entry) => entry.qos)).map(subackCode))
        }
      }),
    )
  }

  async publish(
    topic: string,
    payload: unknown = '',
    options: IClientPublishOptions = { qos: 1 },
  ): Promise<void> {
    const bytes = typeof payload === 'string' || Buffer.isBuffer(payload) ? payload : JSON.stringify(payload)
    try {
      await this.mqtt.publishAsync(topic, bytes, options)
    } catch (error) {
      // MQTT 5 says that a message was denied; 3.1.1 has no word for it.
      if (spoken.version !== 5 || !(((error as { code?: number }).code as number) >= 0x80)) throw error
    }
  }

  /** The first message, of those not taken yet, that `wanted` accepts (a topic, or a function); it is taken. */
  async next(
    wanted: string | ((message: Received) => boolean),
    timeoutMs = patience(10_000),
  ): Promise<Received> {
    const accepts = typeof wanted === 'string' ? (message: Received) => message.topic === wanted : wanted
    const signal = AbortSignal.timeout(timeoutMs)
    for (;;) {
      const index = this.#inbox.findIndex(accepts)
      const found = this.#inbox[index]
      if (found) {
        this.#inbox.splice(index, 1)
        return found
      }
      try {
        await once(this.#events, 'message', { signal })
      } catch {
        const seen = this.#inbox.map((message) => `${message.topic} ${message.text.slice(0, 120)}`)
        throw new Error(`no message for ${wanted} within ${timeoutMs} ms; not taken yet:\n${seen.join('\n')}`)
      }
    }
  }

  /** What has come and was not taken. */
  get waiting(): readonly Received[] {
    return this.#inbox
  }

  /** Sends `verb` as `principal` and gives the response's body. Subscribes on first use. */
  async ask(principal: string, verb: string, args: object = {}): Promise<Loose> {
    if (this.#transactions === 0) await this.subscribe(`limb/principal/${principal}/response/#`)
    const transaction = `t${++this.#transactions}`
    await this.publish(`limb/principal/${principal}/request/${verb}`, { transaction, ...args })
    return (await this.next((message) => message.json.transaction === transaction)).json
  }

  /** Like `ask`, and fails unless the answer is ok. */
  async do(principal: string, verb: string, args: object = {}): Promise<Loose> {
    const answer = await this.ask(principal, verb, args)
    if (!answer.ok) throw new Error(`${verb}: ${JSON.stringify(answer.error)}`)
    return answer.data
  }

  /** Resolves when the bridge has read everything sent so far. */
  async settle(): Promise<void> {
    await new Promise<void>((resolve) => {
      const heard = ({ cmd }: { cmd: string }) => {
        if (cmd !== 'pingresp') return
        this.mqtt.off('packetreceive', heard)
        resolve()
      }
      this.mqtt.on('packetreceive', heard)
      this.mqtt.sendPing()
    })
    await storeQuiet()
  }

  /** With a DISCONNECT packet. */
  async end(): Promise<void> {
    await this.mqtt.endAsync(false)
  }

  /** Without one, as a device that lost its power. */
  cut(): void {
    this.mqtt.options.reconnectPeriod = 0
    this.mqtt.stream.destroy()
    this.mqtt.end(true)
  }

  async ended(): Promise<void> {
    if (!this.mqtt.connected) return
    await new Promise<void>((resolve) => this.mqtt.once('close', () => resolve()))
  }
}

let counter = 0

/** Connects or rejects with the CONNACK's error; never reconnects by itself unless told. */
export async function connect(
  where: { port: number } | { socket: string } | { url: string },
  options: IClientOptions = {},
): Promise<TestClient> {
  const common: IClientOptions = {
    reconnectPeriod: 0,
    protocolVersion: spoken.version,
    ...(spoken.version === 5 && options.clean === false
      ? { properties: { sessionExpiryInterval: FOR_EVER } }
      : {}),
    clientId: `test-${process.pid}-${++counter}`,
    connectTimeout: patience(10_000),
    ...options,
  }
  const client =
    'socket' in where
      ? new mqtt.MqttClient(() => connectUnix(where.socket), common)
      : mqtt.connect('url' in where ? where.url : `mqtt://127.0.0.1:${where.port}`, common)
  const test = new TestClient(client)
  await new Promise<void>((resolve, reject) => {
    const failed = (error: Error & { code?: number | string }) => {
      client.end(true)
      if (typeof error.code === 'number') error.code = connackCode(error.code)
      reject(error)
    }
    client.once('error', failed)
    client.once('connect', () => {
      // A later error ends no client that was told to reconnect.
      client.off('error', failed)
      resolve()
    })
    client.once('close', () => reject(new Error('closed before CONNACK')))
  })
  return test
}
