import { describe, expect, test } from 'vitest'
import { spoken } from '../support/spoken.ts'
import { start, turn } from './fixture.ts'
import { DISCONNECT, id, PUBACK, PUBCOMP, PUBREC, packet, publishPacket } from './wire.ts'

const LIMB = { username: 'cam1', password: 'key' }

/** A promise that the test settles. */
function later() {
  let resolve = () => {}
  let reject = (_: Error) => {}
  const promise = new Promise<void>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

describe('a message for the core', () => {
  test('is acknowledged after the core is done with it, not before', async () => {
    const { connect, core } = await start()
    const commit = later()
    core.onMessage = () => commit.promise
    const limb = await connect(LIMB)
    limb.send(publishPacket('limb/node/cam1/register', '{}', { qos: 1, id: 4 }))
    await limb.settle()
    expect(limb.packets).toEqual([])
    commit.resolve()
    await limb.ack(PUBACK, 4)
    expect(core.all('message')[0]).toMatchObject({
      address: { kind: 'node', nodeId: 'cam1', leaf: 'register' },
      payload: '{}',
    })
  })

  test.each(['register', 'result'])(
    'that cannot be handled (%s) is not acknowledged; the connection ends and the broker goes on',
    async (leaf) => {
      const { connect, core, log } = await start()
      core.onMessage = async () => {
        throw new Error('broken invariant')
      }
      const limb = await connect(LIMB)
      limb.send(publishPacket(`limb/node/cam1/${leaf}`, '{}', { qos: 1, id: 4 }))
      await limb.closed
      // MQTT 5 has words for it: DISCONNECT with 0x80.
      const ends = limb.packets.map(({ type, body }) => [type, body[0]])
      expect(ends).toEqual(spoken.version === 5 ? [[14, 0x80]] : [])
      expect(log.of('error')).toHaveLength(1)
      const next = await connect({ username: 'cam2', password: 'key' })
      await next.settle()
    },
  )

  test('that is answered later is acknowledged at once, in any split into chunks', async () => {
    const { connect, core } = await start()
    const agent = await connect({ username: 'agent1' })
    const limb = await connect(LIMB)
    const request = publishPacket('limb/principal/agent1/request/invoke', '{"command":"x"}', {
      qos: 1,
      id: 7,
    })
    const result = publishPacket('limb/node/cam1/result', '{"success":true}', { qos: 0 })
    for (let cut = 1; cut < request.length; cut++) {
      agent.send(request.subarray(0, cut))
      await turn()
      agent.send(request.subarray(cut))
      await agent.ack(PUBACK, 7)
    }
    limb.send(result, result, publishPacket('limb/node/cam1/heartbeat', '', { qos: 1, id: 8 }))
    await limb.ack(PUBACK, 8)
    const messages = core.all('message')
    expect(messages.filter(({ address }) => address.kind === 'request')).toHaveLength(request.length - 1)
    expect(
      messages.every(({ payload }) => payload === '{"command":"x"}' || payload === '{"success":true}'),
    ).toBe(true)
    expect(messages.filter(({ address }) => address.kind === 'node')).toHaveLength(2)
    expect(core.heartbeats).toBe(1)
  })

  test('is acknowledged in the order of arrival, heartbeats among them', async () => {
    const { connect, core } = await start()
    const commit = later()
    core.onMessage = (_session, address) =>
      address.kind === 'node' && address.leaf === 'register' ? commit.promise : Promise.resolve()
    const limb = await connect(LIMB)
    limb.send(
      publishPacket('limb/node/cam1/register', '{}', { qos: 1, id: 1 }),
      publishPacket('limb/node/cam1/heartbeat', '', { qos: 1, id: 2 }),
      publishPacket('limb/node/cam1/result', '{}', { qos: 1, id: 3 }),
      publishPacket('limb/node/cam1/data/x', '1', { qos: 1, id: 4 }),
      publishPacket('nowhere', '1', { qos: 1, id: 5 }),
    )
    await turn()
    await turn()
    expect(limb.packets).toEqual([])
    commit.resolve()
    await limb.ack(PUBACK, 5).then((last) => limb.packets.push(last))
    expect(limb.packets.map((each) => each.body.readUInt16BE(0))).toEqual([1, 2, 3, 4, 5])
  })

  test('a request of a verb beyond the role is the core’s to answer', async () => {
    const { connect, core } = await start()
    const viewer = await connect({ username: 'viewer' })
    viewer.send(publishPacket('limb/principal/viewer/request/node/revoke', '{}', { qos: 1, id: 1 }))
    await viewer.ack(PUBACK, 1)
    expect(core.all('message')[0]?.address).toEqual({
      kind: 'request',
      principal: 'viewer',
      verb: 'node/revoke',
    })
  })
})

describe('QoS 2', () => {
  test('runs once, however often it is sent before it is released', async () => {
    const { connect, core } = await start()
    const commit = later()
    core.onMessage = () => commit.promise
    const limb = await connect(LIMB)
    const request = (dup: boolean) => publishPacket('limb/node/cam1/register', '{}', { qos: 2, id: 8, dup })
    limb.send(request(false), request(true))
    await limb.settle()
    expect(limb.packets).toEqual([])
    commit.resolve()
    await limb.ack(PUBREC, 8)
    await limb.ack(PUBREC, 8)
    limb.send(request(true))
    await limb.ack(PUBREC, 8)
    expect(core.all('message')).toHaveLength(1)
    limb.send(packet(0x62, id(8)))
    await limb.ack(PUBCOMP, 8)
    limb.send(request(false))
    await limb.ack(PUBREC, 8)
    expect(core.all('message')).toHaveLength(2)
  })

  test('of a stored session runs once over a lost connection', async () => {
    const { connect, core } = await start()
    const options = { ...LIMB, clientId: 'c', clean: false }
    const first = await connect(options)
    first.send(publishPacket('limb/node/cam1/register', '{}', { qos: 2, id: 8 }))
    await first.ack(PUBREC, 8)
    first.cut()
    await first.closed
    const second = await connect(options)
    second.send(publishPacket('limb/node/cam1/register', '{}', { qos: 2, id: 8, dup: true }))
    await second.ack(PUBREC, 8)
    expect(core.all('message')).toHaveLength(1)
  })

  test('heartbeats, denied and routed messages are acknowledged too', async () => {
    const { connect, core } = await start()
    const limb = await connect(LIMB)
    const viewer = await connect({ username: 'viewer' })
    await viewer.subscribe({ 'limb/node/+/data/#': 2 })
    const twice = (topic: string, messageId: number) => [
      publishPacket(topic, 'x', { qos: 2, id: messageId }),
      publishPacket(topic, 'x', { qos: 2, id: messageId, dup: true }),
    ]
    limb.send(
      ...twice('limb/node/cam1/heartbeat', 1),
      ...twice('denied', 2),
      ...twice('limb/node/cam1/data/x', 3),
    )
    for (const messageId of [1, 1, 2, 2, 3, 3]) await limb.ack(PUBREC, messageId)
    await viewer.message()
    await viewer.settle()
    expect(viewer.messages).toEqual([])
    expect(core.heartbeats).toBe(1)
  })

  test('a flood of half-open handshakes ends that session', async () => {
    const { connect } = await start({ limits: { maxInflightPerSession: 5 } })
    const limb = await connect(LIMB)
    for (let i = 1; i <= 6; i++) limb.send(publishPacket('limb/node/cam1/data/x', 'x', { qos: 2, id: i }))
    await limb.closed
  })
})

describe('a denied message', () => {
  test('is dropped and acknowledged, counted, logged once, and the session lives', async () => {
    const { connect, broker, log } = await start()
    const limb = await connect(LIMB)
    const topics = [
      'limb/node/cam2/heartbeat',
      '$SYS/x/new/clients',
      'limb/node/cam1/status',
      'limb/node/cam1/data/',
    ]
    for (const [i, topic] of topics.entries()) {
      limb.send(publishPacket(topic, 'x', { qos: 1, id: i + 1, retain: true }))
      await limb.ack(PUBACK, i + 1)
    }
    for (let i = 0; i < 100; i++) limb.send(publishPacket('x'))
    await limb.settle()
    expect(broker.counters.denied.publish).toBe(104)
    expect(log.of('info').filter((line) => line.message.includes('denied'))).toHaveLength(1)
  })

  test('cannot kick another client by way of $SYS', async () => {
    const { connect } = await start()
    const victim = await connect({ username: 'cam2', password: 'key', clientId: 'victim' })
    const limb = await connect(LIMB)
    limb.send(publishPacket('$SYS/other/new/clients', 'victim', { qos: 1, id: 1 }))
    await limb.ack(PUBACK, 1)
    await victim.settle()
  })
})

test('the retain flag of a limb counts on its data and below its grants, and an empty payload deletes', async () => {
  const { connect } = await start({
    grants: [
      { to: 'limb', publish: ['out/#'] },
      { to: 'viewer', subscribe: ['out/#'] },
    ],
  })
  const limb = await connect(LIMB)
  limb.send(
    publishPacket('limb/node/cam1/data/a', 'a', { qos: 1, id: 1, retain: true }),
    publishPacket('limb/node/cam1/data/b', 'b', { qos: 1, id: 2, retain: true }),
    publishPacket('limb/node/cam1/data/b', '', { qos: 1, id: 3, retain: true }),
    publishPacket('out/x', 'x', { qos: 1, id: 4, retain: true }),
  )
  await limb.ack(PUBACK, 4)
  const viewer = await connect({ username: 'viewer' })
  await viewer.subscribe({ 'limb/node/+/data/#': 1, 'out/#': 1 })
  expect(await viewer.message()).toMatchObject({ topic: 'limb/node/cam1/data/a', retain: true })
  expect(await viewer.message()).toMatchObject({ topic: 'out/x', retain: true })
  await viewer.settle()
  expect(viewer.messages).toEqual([])
})

test('a heartbeat is one whatever its flags and payload, and only on its own topic', async () => {
  const { connect, core } = await start()
  const limb = await connect(LIMB)
  limb.send(
    publishPacket('limb/node/cam1/heartbeat'),
    publishPacket('limb/node/cam1/heartbeat', '{}', { qos: 1, id: 1, dup: true, retain: true }),
    publishPacket('limb/node/cam1/heartbeat', 'x'.repeat(300), { qos: 1, id: 2 }),
    publishPacket('limb/node/cam2/heartbeat', 'foreign', { qos: 1, id: 3 }),
    publishPacket('limb/node/cam1/heartbeat/', 'longer', { qos: 1, id: 4 }),
  )
  await limb.ack(PUBACK, 4)
  expect(core.all('heartbeat').map((event) => event.payload)).toEqual(['', '{}', 'x'.repeat(300)])
})

test('heartbeats keep a session alive like any other packet', async () => {
  const { connect, core } = await start()
  const limb = await connect({ ...LIMB, keepalive: 2 })
  const idle = await connect({ username: 'cam2', password: 'key', keepalive: 2 })
  const beat = setInterval(() => limb.send(publishPacket('limb/node/cam1/heartbeat')), 100)
  // Who connected later and said nothing has ended, so the other one's time would be over too.
  await idle.closed
  clearInterval(beat)
  limb.send(publishPacket('limb/node/cam1/heartbeat', '', { qos: 1, id: 9 }))
  await limb.ack(PUBACK, 9)
  expect(core.all('closed').map((event) => event.session.clientId)).toHaveLength(1)
  limb.send(DISCONNECT)
  await limb.closed
})

test('a core that throws where it must not costs one session, not the process', async () => {
  const { connect, core, log } = await start()
  core.onHeartbeat = (session) => {
    if (session.clientId === 'bad') throw new Error('defect')
  }
  const bad = await connect({ ...LIMB, clientId: 'bad' })
  const good = await connect({ username: 'cam2', password: 'key' })
  bad.send(publishPacket('limb/node/cam1/heartbeat', '', { qos: 1, id: 1 }))
  await bad.closed
  good.send(publishPacket('limb/node/cam2/heartbeat', '', { qos: 1, id: 1 }))
  await good.ack(PUBACK, 1)
  expect(log.of('error')).toHaveLength(1)
})
