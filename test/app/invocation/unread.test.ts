import { describe, expect, it } from 'vitest'
import { startApp, type TestApp } from '../../support/app.ts'
import type { Loose, TestClient } from '../../support/client.ts'
import { patience } from '../../support/patience.ts'
import { agent, send, type Worker, worker } from '../../support/worker.ts'

const SNAP = { nodeId: 'r1', command: 'camera.snap', timeoutSeconds: 300 }
/** Above the packet limit of these tests, so that it is read over. */
const LARGE = 'y'.repeat(400_000)

function startSmall(): ReturnType<typeof startApp> {
  return startApp({ mqtt: { port: 0, maxPacketBytes: 266_240 } }, { memory: true })
}

/** Invokes, has the limb answer with these bytes, and gives what the caller is told. */
async function answered(
  robot: Worker,
  ann: TestClient,
  payload: (invocationId: string) => string,
  options: Loose = { qos: 1 },
): Promise<Loose> {
  const answer = await send(ann, 'ann', 'invoke', SNAP)
  const { invocationId } = await robot.next()
  await robot.client.publish('limb/node/r1/result', payload(invocationId), options)
  return await answer()
}

async function dropped(app: TestApp): Promise<Loose[]> {
  return app.logLines.filter(({ why }) => why === 'too_large')
}

describe('a result that is larger than a packet may be', () => {
  it.each([
    ['first', (id: string) => `{"invocationId":"${id}","success":true,"data":"${LARGE}"}`],
    ['last', (id: string) => `{"success":true,"data":"${LARGE}","invocationId":"${id}"}`],
    [
      'between two large values, of which the first names another one',
      (id: string) =>
        `{"data":{"invocationId":"iv_other","a":"${LARGE}"},"invocationId" : "${id}","b":[${'1,'.repeat(100_000)}2]}`,
    ],
  ])('ends its invocation at once, when its id stands %s', async (_where, payload) => {
    await using app = await startSmall()
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    for (const qos of [0, 1, 2]) {
      const { error } = await answered(robot, ann, payload, { qos })
      expect(error).toMatchObject({
        code: 'node_error',
        message: expect.stringMatching(/^r1 sent a wrong result: its packet has \d+ bytes; .*artifactUri/),
      })
    }
    const { items } = await ann.do('ann', 'invocation/list')
    expect(items.map(({ state }: Loose) => state)).toEqual(['failed', 'failed', 'failed'])
    expect(await dropped(app)).toHaveLength(1)
    // The limb is as it was.
    const answer = await send(ann, 'ann', 'invoke', SNAP)
    await robot.answer(await robot.next())
    expect((await answer()).ok).toBe(true)
  })

  it('that is another limb\u2019s ends nothing', async () => {
    await using app = await startSmall()
    const robot = await worker(app, 'r1')
    const other = await worker(app, 'r2')
    const ann = await agent(app, 'ann')
    const answer = await send(ann, 'ann', 'invoke', SNAP)
    const invocation = await robot.next()
    const large = JSON.stringify({ invocationId: invocation.invocationId, success: true, data: LARGE })
    await other.client.publish('limb/node/r2/result', large)
    await other.client.publish('limb/node/r1/result', large)
    await other.client.settle()
    await robot.answer(invocation)
    expect((await answer()).ok).toBe(true)
  })

  it('that comes late is on record as a late one', async () => {
    await using app = await startSmall()
    const robot = await worker(app, 'r1')
    const ann = await agent(app, 'ann')
    const answer = await send(ann, 'ann', 'invoke', { ...SNAP, timeoutSeconds: 1 })
    const { invocationId } = await robot.next()
    expect((await answer()).error.code).toBe('timeout')
    const admin = await app.admin()
    await admin.subscribe('limb/bridge/event/#')
    await robot.client.publish(
      'limb/node/r1/result',
      `{"data":"${LARGE}","invocationId":"${invocationId}","success":true}`,
    )
    await admin.next('limb/bridge/event/invocation_late')
    expect(await ann.do('ann', 'invocation/get', { invocationId })).toMatchObject({
      late: { success: true },
    })
  })
})

describe('in MQTT 5', () => {
  const FIVE = { protocolVersion: 5 as const }

  async function five(app: TestApp, ann: TestClient) {
    // Pairs it, and then comes back with the other version.
    const robot = await worker(app, 'r1')
    await robot.client.end()
    const client = await app.device('r1', `r1-${'k'.repeat(24)}`, FIVE)
    const asked: { invocationId: string; correlation: Buffer }[] = []
    const waiting: (() => void)[] = []
    client.mqtt.on('message', (_topic, payload, { properties }) => {
      const { invocationId } = JSON.parse(payload.toString())
      asked.push({ invocationId, correlation: properties?.correlationData as Buffer })
      waiting.shift()?.()
    })
    await client.subscribe('limb/node/r1/invoke')
    await client.publish('limb/node/r1/heartbeat')
    const answer = await send(ann, 'ann', 'invoke', SNAP)
    if (asked.length === 0) await new Promise<void>((resolve) => waiting.push(resolve))
    const correlation = asked[0]?.correlation as Buffer
    return { client, answer, correlation }
  }

  it.each([0, 1, 2] as const)(
    'a large result of QoS %i is known by its correlation data, also when it is no JSON',
    async (qos) => {
      await using app = await startSmall()
      const ann = await agent(app, 'ann')
      const { client, answer, correlation } = await five(app, ann)
      const properties = { correlationData: correlation }
      const sent = client.mqtt
        .publishAsync('limb/node/r1/result', Buffer.alloc(400_000, 255), { qos, properties })
        .then(
          () => 0,
          (failure: { code?: number }) => failure.code,
        )
      const { error } = await answer()
      expect(error).toMatchObject({ code: 'node_error', message: expect.stringContaining('artifactUri') })
      // QoS 1 and 2 are told so; of QoS 0 the connection ends.
      if (qos === 0) await client.ended()
      else expect(await sent).toBe(0x97)
    },
    patience(20_000),
  )
})

describe('others who wait for what is read over', () => {
  it('a principal is answered, by its transaction', async () => {
    await using app = await startSmall()
    const ann = await agent(app, 'ann')
    for (const transaction of [7, 'seven']) {
      const answer = ann.next(({ json }) => json.transaction === transaction)
      await ann.publish(
        'limb/principal/ann/request/invoke',
        JSON.stringify({ nodeId: 'r1', params: LARGE, transaction }),
      )
      expect((await answer).json).toMatchObject({
        ok: false,
        error: { code: 'invalid_request', message: expect.stringContaining('mqtt.maxPacketBytes') },
      })
    }
  })

  it('a limb is told that its registration is too large', async () => {
    await using app = await startSmall()
    const robot = await worker(app, 'r1')
    await robot.client.publish('limb/node/r1/register', `{"displayName":"${LARGE}"}`)
    const { json } = await robot.client.next('limb/node/r1/pairing')
    expect(json).toMatchObject({ status: 'error', error: { message: expect.stringContaining('too large') } })
  })

  it('a limb whose heartbeat is too large lives, and is told', async () => {
    await using app = await startSmall()
    const robot = await app.limb('r1')
    const admin = await app.admin()
    await admin.subscribe('limb/node/r1/status')
    await admin.next(({ text }) => text === 'offline')
    await robot.publish('limb/node/r1/heartbeat', `{"metrics":{"t":1},"note":"${LARGE}"}`)
    await admin.next(({ text }) => text === 'online')
    const { json } = await robot.next('limb/node/r1/pairing')
    expect(json.error.message).toMatch(/the limit is 4096/)
  })
})
