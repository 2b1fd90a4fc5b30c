import { expect, it } from 'vitest'
import { connectPacket, dial } from '../../broker/wire.ts'
import { keyOf, startApp } from '../../support/app.ts'

const VERSIONS = [
  ['3.1', { protocolVersion: 3, protocolId: 'MQIsdp' }],
  ['3.1.1', { protocolVersion: 4 }],
  ['5', { protocolVersion: 5 }],
] as const

it.each(VERSIONS)('the log says that a limb signed in with MQTT %s', async (version, options) => {
  await using app = await startApp({}, { memory: true })
  await (await app.limb('cam1')).end()
  const { length } = app.logLines
  const limb = await app.device('cam1', keyOf('cam1'), { ...options, clientId: 'esp' })
  await limb.settle()
  const line = app.logLines.slice(length).find(({ msg }) => String(msg).includes('signed in'))
  expect(line).toMatchObject({
    level: 'info',
    msg: `cam1 (limb) signed in from 127.0.0.1, MQTT ${version}`,
    nodeId: 'cam1',
    clientId: 'esp',
    version,
  })
})

it.each(VERSIONS)(
  'the log says with which version a refused sign-in came: MQTT %s',
  async (version, options) => {
    await using app = await startApp({}, { memory: true })
    await expect(app.principal('admin', 'wrong-password', options)).rejects.toThrow()
    const line = app.logLines.find(({ msg }) => String(msg).startsWith('sign-in refused'))
    expect(line).toMatchObject({ name: 'admin', version })
  },
)

it('a candidate that signs in fills no log, and what it is denied says its version', async () => {
  await using app = await startApp({}, { memory: true })
  const candidate = await app.device('cam2', keyOf('cam2'), { protocolVersion: 5 })
  await candidate.mqtt.publishAsync('limb/bridge/status', 'x', { qos: 1 }).catch(() => undefined)
  await candidate.settle()
  expect(app.logLines.filter(({ msg }) => String(msg).includes('signed in'))).toEqual([])
  const denied = app.logLines.find(({ msg }) => String(msg).includes('denied'))
  expect(denied).toMatchObject({ who: 'candidate', version: '5' })
})

it('before CONNECT has said a version, no line says one', async () => {
  await using app = await startApp({}, { memory: true })
  const client = await dial({ port: app.bridge.mqtt.port })
  client.send(Buffer.from([0xe0, 0]))
  await client.closed
  const line = app.logLines.find(({ msg }) => String(msg).startsWith('protocol violation'))
  expect(line).toBeDefined()
  expect(line?.version).toBeUndefined()
})

it('a version that is not spoken is named', async () => {
  await using app = await startApp({ mqtt: { versions: [5] } }, { memory: true })
  const client = await dial({ port: app.bridge.mqtt.port })
  client.send(connectPacket({ clientId: 'cam3', username: 'cam3' }))
  expect((await client.connack()).code).toBe(1)
  await client.closed
  const line = app.logLines.find(({ msg }) => String(msg).startsWith('CONNECT refused'))
  expect(line).toMatchObject({ version: '3.1.1' })
})
