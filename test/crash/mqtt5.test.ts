import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt'
import { expect, it, onTestFinished } from 'vitest'
import { type BridgeProcess, startBridge } from '../support/bridge-process.ts'
import { connectControl } from '../support/control-client.ts'
import { patience } from '../support/patience.ts'

/** What MQTT 5 promises, over `kill -9` of the bridge as a process. */

const settings = { mqtt: { grants: [{ to: 'viewer', publish: ['t/#'], subscribe: ['t/#'] }] } }
const STAYS = { clean: false, clientId: 'away', properties: { sessionExpiryInterval: 600 } }

/** Connects, and collects what comes: from before CONNACK on, as a queue may come in the same piece as CONNACK. */
async function collecting({ mqtt }: BridgeProcess, options: IClientOptions = {}) {
  const packets: IPublishPacket[] = []
  const client = connect(`mqtt://${mqtt.host}:${mqtt.port}`, {
    ...{ protocolVersion: 5, reconnectPeriod: 0, username: 'ann', password: 'a-password-of-ann' },
    ...options,
  })
  client.on('message', (_topic, _payload, packet) => packets.push(packet))
  onTestFinished(() => void client.end(true))
  await new Promise<unknown>((resolve, reject) => client.once('connect', resolve).on('error', reject))
  return { client, packets }
}

const signIn = async (bridge: BridgeProcess, options: IClientOptions = {}): Promise<MqttClient> =>
  (await collecting(bridge, options)).client

const texts = (packets: readonly IPublishPacket[]) => packets.map(({ payload }) => payload.toString())

it(
  'queued, retained and expiring messages and delayed wills keep properties, order and the rest of their time',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'limb-kill5-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const before = await startBridge({ folder, settings })
    onTestFinished(() => before.kill())
    const control = await connectControl(before.control)
    await control.do('principal/add', { name: 'ann', role: 'viewer', password: 'a-password-of-ann' })
    control.client.end()

    const away = await signIn(before, STAYS)
    await away.subscribeAsync('t/queue', { qos: 1, properties: { subscriptionIdentifier: 9 } })
    await away.endAsync()

    const sender = await signIn(before)
    const send = (topic: string, text: string, seconds: number, retain = false) =>
      sender.publishAsync(topic, text, {
        qos: 1,
        retain,
        properties: { messageExpiryInterval: seconds, userProperties: { z: '1', a: ['2', '3'] } },
      })
    await send('t/queue', 'one', 500)
    await send('t/queue', 'gone', 1)
    await send('t/queue', 'two', 500)
    await send('t/kept', 'kept', 500, true)
    await send('t/lapsed', 'lapsed', 1, true)
    const dying = await signIn(before, {
      clean: false,
      clientId: 'dying',
      properties: { sessionExpiryInterval: 600 },
      will: {
        topic: 't/will',
        payload: Buffer.from('last words'),
        qos: 1,
        retain: true,
        properties: { willDelayInterval: 2, contentType: 'text/plain' },
      },
    })
    dying.stream.destroy()
    await before.kill()
    // The time of the short ones is up by the clock on the wall, and no event says so.
    await new Promise((resolve) => setTimeout(resolve, 1100))

    const after = await startBridge({ folder, settings })
    onTestFinished(() => after.kill())
    const watcher = await collecting(after)
    await watcher.client.subscribeAsync('t/#', { qos: 1 })
    // The will may be due before or after what was retained is sent.
    await expect
      .poll(() => texts(watcher.packets).toSorted(), { timeout: patience(20_000) })
      .toEqual(['kept', 'last words'])
    expect(watcher.packets.find(({ topic }) => topic === 't/will')?.properties).toMatchObject({
      contentType: 'text/plain',
    })
    const kept = watcher.packets.find(({ topic }) => topic === 't/kept')
    expect(kept).toMatchObject({ retain: true, properties: { userProperties: { z: '1', a: ['2', '3'] } } })
    expect(kept?.properties?.messageExpiryInterval).toBeLessThan(500)

    const back = await collecting(after, STAYS)
    await expect.poll(() => texts(back.packets), { timeout: patience(20_000) }).toEqual(['one', 'two'])
    for (const { properties } of back.packets) {
      expect(properties).toMatchObject({
        subscriptionIdentifier: 9,
        userProperties: { z: '1', a: ['2', '3'] },
      })
      expect(properties?.messageExpiryInterval).toBeLessThan(500)
      expect(properties?.messageExpiryInterval).toBeGreaterThan(300)
    }
  },
  patience(60_000),
)
