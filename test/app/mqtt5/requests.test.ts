import type { IPublishPacket, MqttClient } from 'mqtt'
import { describe, expect, it } from 'vitest'
import { keyOf, startApp } from '../../support/app.ts'
import { agent, attend, ROBOT, send } from '../../support/worker.ts'

/** What MQTT 5 adds to requests and invocations, with an ordinary client, mqtt.js. */

const FIVE = { protocolVersion: 5 } as const
const SNAP = { nodeId: 'r1', command: 'camera.snap', params: {} }

function nextOn(client: MqttClient, topic: string): Promise<IPublishPacket> {
  return new Promise((resolve) => {
    const listen = (on: string, _payload: Buffer, packet: IPublishPacket) => {
      if (on !== topic) return
      client.off('message', listen)
      resolve(packet)
    }
    client.on('message', listen)
  })
}

describe('a request of a client that speaks MQTT 5', () => {
  it('is answered at its response topic, with its correlation data', async () => {
    await using app = await startApp({}, { memory: true })
    const admin = await app.admin(FIVE)
    await admin.subscribe('limb/principal/admin/response/#')
    const responseTopic = 'limb/principal/admin/response/mine/7'
    const answer = nextOn(admin.mqtt, responseTopic)
    await admin.mqtt.publishAsync('limb/principal/admin/request/node/list', '{}', {
      qos: 1,
      properties: { responseTopic, correlationData: Buffer.from([0, 255, 7]) },
    })
    const { payload, properties } = await answer
    expect(JSON.parse(payload.toString())).toMatchObject({ ok: true, data: { items: [] } })
    expect(properties?.correlationData).toEqual(Buffer.from([0, 255, 7]))
  })

  it.each(['limb/principal/bob/response/x', 'limb/node/r1/invoke', 'elsewhere'])(
    'is refused, and not run, with the response topic %s',
    async (responseTopic) => {
      await using app = await startApp({}, { memory: true })
      const admin = await app.admin(FIVE)
      const published = admin.mqtt.publishAsync(
        'limb/principal/admin/request/principal/add',
        JSON.stringify({ name: 'eve', role: 'admin', password: 'long enough 1' }),
        { qos: 1, properties: { responseTopic } },
      )
      await expect(published).rejects.toMatchObject({ code: 0x87 })
      const { items } = await (await app.admin()).do('admin', 'principal/list')
      expect(items.map(({ name }: { name: string }) => name)).not.toContain('eve')
    },
  )
})

describe('an invocation of a limb that speaks MQTT 5', () => {
  it('says where its result goes, which one it is and when it is over; the answer may come that way', async () => {
    await using app = await startApp({}, { memory: true })
    await app.limb('r1', ROBOT)
    const limb = await app.device('r1', keyOf('r1'), FIVE)
    await attend(app, 'r1', limb)
    const ann = await agent(app, 'ann')
    const invoked = nextOn(limb.mqtt, 'limb/node/r1/invoke')
    const askedAt = Date.now()
    const answer = await send(ann, 'ann', 'invoke', SNAP)
    const { payload, properties } = await invoked
    const { invocationId, deadline } = JSON.parse(payload.toString())
    expect(properties?.responseTopic).toBe('limb/node/r1/result')
    expect(properties?.correlationData?.toString()).toBe(invocationId)
    // It was written after the request and before now.
    const leftAt = (ms: number) => (Date.parse(deadline) - ms) / 1000
    expect(properties?.messageExpiryInterval).toBeGreaterThan(leftAt(Date.now()) - 1)
    expect(properties?.messageExpiryInterval).toBeLessThan(leftAt(askedAt) + 3)
    // The result names its invocation in the correlation data alone.
    await limb.mqtt.publishAsync('limb/node/r1/result', JSON.stringify({ success: true, data: { n: 1 } }), {
      qos: 1,
      properties: { correlationData: properties?.correlationData as Buffer },
    })
    expect(await answer()).toMatchObject({ ok: true, data: { data: { n: 1 } } })
  })
})
