import { connect, type IClientOptions, type IConnackPacket, type IPublishPacket, type MqttClient } from 'mqtt'
import { expect, it, onTestFinished } from 'vitest'
import { PINGRESP, PUBLISH, packetsIn } from '../broker/wire.ts'
import { startApp } from '../support/app.ts'
import { patience } from '../support/patience.ts'

/** What MQTT 5 lets a client ask for, as mqtt.js asks for it, through the listener of the whole bridge. */

type App = Awaited<ReturnType<typeof startApp>>

const PASSWORD = 'a-password-of-ann'

async function withAnn(): Promise<App> {
  const app = await startApp({ mqtt: { grants: [{ to: 'viewer', publish: ['t/#'], subscribe: ['t/#'] }] } })
  const admin = await app.admin()
  await admin.do('admin', 'principal/add', { name: 'ann', role: 'operator', password: PASSWORD })
  return app
}

/** A client with what it has got, and its CONNACK. */
class Client {
  readonly mqtt: MqttClient
  readonly got: IPublishPacket[]
  readonly connack: IConnackPacket

  private constructor(mqtt: MqttClient, connack: IConnackPacket, got: IPublishPacket[]) {
    this.mqtt = mqtt
    this.connack = connack
    this.got = got
    mqtt.on('error', () => undefined)
    onTestFinished(() => void mqtt.end(true))
  }

  static async connect(app: App, options: IClientOptions = {}): Promise<Client> {
    const mqtt = connect(`mqtt://127.0.0.1:${app.bridge.mqtt.port}`, {
      ...{ protocolVersion: 5, reconnectPeriod: 0, username: 'ann', password: PASSWORD },
      ...options,
    })
    // A queue may come in the same piece as CONNACK.
    const got: IPublishPacket[] = []
    mqtt.on('message', (_topic, _payload, packet) => got.push(packet))
    const connack = await new Promise<IConnackPacket>((resolve, reject) => {
      mqtt.once('connect', resolve)
      mqtt.once('error', reject)
    })
    return new Client(mqtt, connack, got)
  }

  get texts(): string[] {
    return this.got.map(({ payload }) => payload.toString())
  }

  async until(count: number): Promise<void> {
    await expect.poll(() => this.got.length, { timeout: patience(10_000) }).toBe(count)
  }
}

it('a session lasts as long as it asked, with its subscription, identifier and queue', async () => {
  await using app = await withAnn()
  const asked = { clientId: 'lasting', clean: false, properties: { sessionExpiryInterval: 300 } }
  const before = await Client.connect(app, asked)
  expect(before.connack).toMatchObject({ sessionPresent: false })
  await before.mqtt.subscribeAsync('t/x', { qos: 1, properties: { subscriptionIdentifier: 7 } })
  await before.mqtt.endAsync()
  const sender = await Client.connect(app)
  await sender.mqtt.publishAsync('t/x', 'queued', { qos: 1 })
  const after = await Client.connect(app, asked)
  expect(after.connack).toMatchObject({ sessionPresent: true })
  await after.until(1)
  expect(after.got[0]).toMatchObject({ qos: 1, properties: { subscriptionIdentifier: 7 } })
})

it('no more messages are under way than the client takes', async () => {
  await using app = await withAnn()
  const reader = await Client.connect(app, { properties: { receiveMaximum: 1 } })
  await reader.mqtt.subscribeAsync('t/x', { qos: 1 })
  const acknowledge: (() => void)[] = []
  reader.mqtt.handleMessage = (_packet, done) => void acknowledge.push(() => done())
  // What is on the wire: the client itself takes one packet after the other.
  const chunks: Buffer[] = []
  reader.mqtt.stream.on('data', (chunk: Buffer) => void chunks.push(chunk))
  const onWire = (wanted: number) =>
    packetsIn(Buffer.concat(chunks)).filter(({ type }) => type === wanted).length
  const sender = await Client.connect(app)
  for (const text of ['1', '2', '3']) await sender.mqtt.publishAsync('t/x', text, { qos: 1 })
  for (let sent = 1; sent <= 3; sent++) {
    await expect.poll(() => acknowledge.length, { timeout: patience(10_000) }).toBe(sent)
    reader.mqtt.sendPing()
    await expect.poll(() => onWire(PINGRESP), { timeout: patience(10_000) }).toBe(sent)
    expect(onWire(PUBLISH)).toBe(sent)
    acknowledge[sent - 1]?.()
  }
})

it('a message that is larger than the client takes is left out, and the next one comes', async () => {
  await using app = await withAnn()
  const reader = await Client.connect(app, { properties: { maximumPacketSize: 200 } })
  await reader.mqtt.subscribeAsync('t/x', { qos: 1 })
  const sender = await Client.connect(app)
  await sender.mqtt.publishAsync('t/x', 'x'.repeat(300), { qos: 1 })
  await sender.mqtt.publishAsync('t/x', 'small', { qos: 1 })
  await reader.until(1)
  expect(reader.texts).toEqual(['small'])
})

it('what is retained comes always, to a new subscription, or never, as it asks; and never one’s own where it asks', async () => {
  await using app = await withAnn()
  const sender = await Client.connect(app)
  await sender.mqtt.publishAsync('t/kept', 'kept', { qos: 1, retain: true })
  const reader = await Client.connect(app)
  const after = async (rh: 0 | 1 | 2, expected: string[]) => {
    reader.got.length = 0
    await reader.mqtt.subscribeAsync('t/kept', { qos: 1, rh })
    await sender.mqtt.publishAsync('t/kept', 'live', { qos: 1 })
    // What is retained comes after SUBACK, before or behind what is published then.
    await expect.poll(() => reader.texts.toSorted(), { timeout: patience(10_000) }).toEqual(expected)
  }
  await after(2, ['live'])
  await after(1, ['live'])
  await after(0, ['kept', 'live'])
  await reader.mqtt.unsubscribeAsync('t/kept')
  await after(1, ['kept', 'live'])
  // No local: its own messages do not come, those of others do.
  reader.got.length = 0
  await reader.mqtt.subscribeAsync('t/both', { qos: 1, nl: true, rap: true })
  await reader.mqtt.publishAsync('t/both', 'own', { qos: 1 })
  await sender.mqtt.publishAsync('t/both', 'of another', { qos: 1, retain: true })
  await reader.until(1)
  expect(reader.got[0]).toMatchObject({ payload: Buffer.from('of another'), retain: true })
})

it('a will comes when its delay is over, with its properties, and a client that asks for an alias understands it', async () => {
  await using app = await withAnn()
  const watcher = await Client.connect(app, { properties: { topicAliasMaximum: 5 } })
  await watcher.mqtt.subscribeAsync('t/will', { qos: 1 })
  const properties = { willDelayInterval: 1, contentType: 'text/plain', userProperties: { k: 'v' } }
  const will = { topic: 't/will', payload: Buffer.from('gone'), qos: 1, retain: false, properties } as const
  const client = await Client.connect(app, { will, properties: { sessionExpiryInterval: 60 } })
  const cutAt = performance.now()
  client.mqtt.stream.destroy()
  await watcher.until(1)
  expect(performance.now() - cutAt).toBeGreaterThanOrEqual(900)
  expect(watcher.got[0]).toMatchObject({
    topic: 't/will',
    payload: Buffer.from('gone'),
    properties: { contentType: 'text/plain', userProperties: { k: 'v' } },
  })
})

it('shared subscriptions are for principals: a limb is told that it has none', async () => {
  await using app = await withAnn()
  const admin = await app.admin()
  const { apiKey } = await admin.do('admin', 'node/provision', { nodeId: 'cam1' })
  const limb = await Client.connect(app, { username: 'cam1', password: apiKey, clientId: 'cam1' })
  expect(limb.connack.properties).toMatchObject({ sharedSubscriptionAvailable: false })
  const answered = (client: Client, filter: string) =>
    new Promise<unknown>((resolve) =>
      client.mqtt.subscribe(filter, { qos: 1 }, (_error, _granted, packet) =>
        resolve((packet as unknown as { granted: number[] } | undefined)?.granted),
      ),
    )
  expect(await answered(limb, '$share/g/limb/node/cam1/invoke')).toEqual([0x9e])
  expect(await answered(await Client.connect(app), '$share/g/t/x')).toEqual([1])
})
