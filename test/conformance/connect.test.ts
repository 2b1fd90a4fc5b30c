import { describe, expect, test } from 'vitest'
import {
  CONNACK,
  connectPacket,
  DISCONNECT,
  PINGREQ,
  PINGRESP,
  packet,
  publishPacket,
  text,
} from '../broker/wire.ts'
import { bridge, ROOT, unique } from './fixture.ts'

const { connect, dial, signed } = bridge()

/** The first answer to a CONNECT. */
async function answer(bytes: Uint8Array) {
  const client = await dial()
  client.send(bytes)
  return { client, ...(await client.connack()) }
}

describe('CONNECT', () => {
  test('[MQTT-3.1.0-1] any other first packet closes the connection without an answer', async () => {
    for (const first of [PINGREQ, DISCONNECT, publishPacket('t', 'x')]) {
      const client = await dial()
      client.send(first)
      await client.closed
      expect(client.packets).toEqual([])
    }
  })

  test('[MQTT-3.1.0-2] a second CONNECT closes the connection', async () => {
    const client = await connect()
    client.send(connectPacket(signed()))
    await client.closed
    expect(client.packets).toEqual([])
  })

  test('[MQTT-3.1.2-1] another protocol name closes the connection without CONNACK', async () => {
    const client = await dial()
    client.send(connectPacket(signed({ protocol: 'AMQP' })))
    await client.closed
    expect(client.packets).toEqual([])
  })

  test('[MQTT-3.1.2-2] a protocol level that is not spoken gets return code 1 and the end', async () => {
    const { client, code } = await answer(connectPacket(signed({ level: 2 })))
    expect(code).toBe(1)
    await client.closed
  })

  test('MQTT 3.1 is spoken too', async () => {
    const { code } = await answer(connectPacket(signed({ clientId: unique(), protocol: 'MQIsdp', level: 3 })))
    expect(code).toBe(0)
  })

  test('[MQTT-3.1.4-5] what follows CONNECT in one segment is dealt with after CONNACK', async () => {
    const client = await dial()
    client.send(connectPacket(signed({ clientId: unique() })), PINGREQ)
    await client.of(PINGRESP)
    expect(client.packets.map(({ type }) => type)).toEqual([CONNACK])
  })

  test('CONNECT may arrive byte by byte', async () => {
    const client = await dial()
    for (const byte of connectPacket(signed({ clientId: unique() }))) {
      client.send(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect((await client.connack()).code).toBe(0)
  })
})

describe('the client id', () => {
  test('[MQTT-3.1.3-6] of zero length gets one from the bridge, with a clean session', async () => {
    const one = await answer(connectPacket(signed({ clientId: '' })))
    const other = await answer(connectPacket(signed({ clientId: '' })))
    expect([one.code, other.code]).toEqual([0, 0])
    // Two ids: neither took the other over.
    await one.client.settle()
    await other.client.settle()
  })

  test('[MQTT-3.1.3-8] of zero length is refused with code 2 without a clean session', async () => {
    const { client, code } = await answer(connectPacket(signed({ clientId: '', clean: false })))
    expect(code).toBe(2)
    await client.closed
  })

  test('[MQTT-3.1.3-5] may have at least 23 letters and digits, and more', async () => {
    for (const clientId of ['0123456789abcdefghijklm', 'Z'.repeat(128), 'with space/and+signs#']) {
      expect((await answer(connectPacket(signed({ clientId })))).code).toBe(0)
    }
  })

  test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'may be %s, and means nothing but itself',
    async (clientId) => {
      const first = await connect({ clientId, clean: false })
      await first.subscribe({ [`t/${clientId}`]: 1, t: 0 })
      first.send(DISCONNECT)
      await first.closed
      const { client, code, present } = await answer(connectPacket(signed({ clientId, clean: false })))
      expect({ code, present }).toEqual({ code: 0, present: true })
      client.send(publishPacket(`t/${clientId}`, 'x'))
      expect((await client.message()).topic).toBe(`t/${clientId}`)
    },
  )

  test('[MQTT-3.1.4-2] in use by the same identity ends the older connection', async () => {
    const clientId = unique()
    const older = await connect({ clientId })
    const newer = await connect({ clientId })
    await older.closed
    await newer.settle()
  })
})

describe('who comes in', () => {
  test('[MQTT-3.2.2-4] a wrong password gets code 4 and the end', async () => {
    const { client, code, present } = await answer(connectPacket({ username: 'admin', password: 'not it' }))
    expect({ code, present }).toEqual({ code: 4, present: false })
    await client.closed
  })

  test('a name without a password that is nobody’s is a candidate, with no right but to register', async () => {
    const { client, code } = await answer(connectPacket({ clientId: 'cam1' }))
    expect(code).toBe(0)
    expect(await client.subscribe({ 't/#': 0, [`${ROOT}/node/cam1/pairing`]: 1 })).toEqual([128, 1])
  })

  test('[MQTT-3.1.2-22] a password without a user name closes the connection', async () => {
    const client = await dial()
    client.send(packet(0x10, text('MQTT'), Buffer.from([4, 0x42, 0, 60]), text('c'), text('secret')))
    await client.closed
    expect(client.packets).toEqual([])
  })
})

describe('DISCONNECT', () => {
  test('[MQTT-3.14.4-1] ends the connection', async () => {
    const client = await connect()
    client.send(DISCONNECT)
    await client.closed
  })
})
